/** An addon that cannot be used: the error says why and what to do, and doing it helps. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  addPrebuilt,
  commandOf,
  installWithoutScripts,
  pack,
  PROGRAM,
  type Packed,
  type ProgramOutput,
} from './packed';

const root = join(__dirname, '../..');
const platform = `${process.platform}-${process.arch}`;

let packed: Packed;
/** A project that depends on the package, and the package in it. */
let project: string;
let installed: string;

beforeAll(() => {
  packed = pack();
}, 120_000);

beforeEach(() => {
  project = realpathSync(mkdtempSync(join(packed.folder, 'project-')));
  writeFileSync(join(project, 'package.json'), '{"private":true}');
  writeFileSync(join(project, 'program.cjs'), PROGRAM);
  installed = installWithoutScripts(packed, project);
});

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

function run(...args: readonly string[]): ProgramOutput {
  const output = execFileSync(process.execPath, args, {
    cwd: project,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'], // Node warns of experimental flags.
  });
  return JSON.parse(output) as ProgramOutput;
}

/** A failure of loading the addon, in one line. */
function failure(...args: readonly string[]): ProgramOutput {
  const output = run(...args);
  expect(output).toMatchObject({ typed: true, code: 'NATIVE_UNAVAILABLE' });
  expect(output.message).not.toContain('\n');
  return output;
}

describe('neither built nor prebuilt: the command that compiles one, as it is reached there', () => {
  test('in a project', () => {
    writeFileSync(join(project, 'node_modules/.package-lock.json'), '');
    const output = failure('program.cjs');
    expect(output.message).toContain(`none for ${platform}`);
    expect(commandOf(output)).toBe('npx tramontane build');
  });

  test('installed for the whole machine', () => {
    writeFileSync(join(project, 'node_modules/.package-lock.json'), '');
    rmSync(join(project, 'package.json'));
    expect(commandOf(failure('program.cjs'))).toBe('tramontane build');
  });

  test('Yarn without node_modules', () => {
    writeFileSync(
      join(project, 'pnp.cjs'),
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, pnp: '3' } });",
    );
    expect(commandOf(failure('-r', './pnp.cjs', 'program.cjs'))).toBe('yarn tramontane build');
  });

  test('linked: the command itself', () => {
    const linked = join(project, 'tramontane');
    renameSync(installed, linked);
    symlinkSync(linked, installed);
    symlinkSync(join(root, 'node_modules'), join(linked, 'node_modules'));
    expect(commandOf(failure('program.cjs'))).toBe(
      `node ${join(linked, 'dist/cli/main.js')} build`,
    );
  });
});

test('an addon that cannot be loaded: which, why, and how to compile one', () => {
  addPrebuilt(installed);
  const prebuilt = join(installed, 'prebuilds', platform, 'tramontane.node');
  writeFileSync(prebuilt, 'not an addon');
  const output = failure('program.cjs');
  expect(output.message).toContain(`${prebuilt} does not load`);
  expect(commandOf(output)).toBe('npx tramontane build');
});

test('one compiled for this machine goes before the one that the package brought', () => {
  addPrebuilt(installed);
  const compiled = join(installed, 'build/Release');
  mkdirSync(compiled, { recursive: true });
  writeFileSync(join(compiled, 'tramontane.node'), 'not an addon');
  expect(failure('program.cjs').message).toContain(compiled);
});

describe('nothing runs at an install', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };

  test.each(['preinstall', 'install', 'postinstall'])('no script %s', (name) => {
    expect(scripts).not.toHaveProperty(name);
  });

  // npm, pnpm and Yarn compile by themselves where they see one.
  test('no binding.gyp in the root', () => {
    expect(packed.files).not.toContain('binding.gyp');
    expect(packed.files).toContain('cpp/binding.gyp');
  });
});

describe('kept out by a flag of node: the flag is named', () => {
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';

  beforeEach(() => {
    addPrebuilt(installed);
  });

  test('without flags it works', () => {
    expect(run('program.cjs')).toEqual({ tokens: 5 });
  });

  test('--no-addons', () => {
    expect(failure('--no-addons', 'program.cjs').message).toMatch(/--no-addons: start it without/);
  });

  test('--permission: the flags that the error asks for let it load', () => {
    const { message } = failure(permission, '--allow-fs-read=*', 'program.cjs');
    const flags = message?.match(/--allow-[a-z-]+(=\*)?/g) ?? [];
    expect(flags).toEqual(['--allow-addons', '--allow-fs-read=*']);
    expect(run(permission, ...flags, 'program.cjs')).toEqual({ tokens: 5 });
  });
});

describe('in a bundle', () => {
  const esbuild = (...args: string[]) => {
    const command = join(root, 'node_modules/.bin/esbuild');
    const options = [
      '--bundle',
      '--platform=node',
      '--outfile=out/bundle.cjs',
      '--log-level=error',
    ];
    execFileSync(command, ['program.cjs', ...options, ...args], { cwd: project });
  };

  beforeEach(() => {
    addPrebuilt(installed);
    mkdirSync(join(project, 'out'));
  });

  test('the error says to mark the package as external', () => {
    esbuild();
    expect(failure('out/bundle.cjs').message).toContain('esbuild --external:tramontane');
  });

  test('marked as external it works', () => {
    esbuild('--external:tramontane');
    expect(run('out/bundle.cjs')).toEqual({ tokens: 5 });
  });
});

test('`prepare`, which npm runs for linked packages too, deletes nothing of an installed one', () => {
  execFileSync('npm', ['run', '--silent', 'prepare'], { cwd: installed });
  addPrebuilt(installed);
  expect(run('program.cjs')).toEqual({ tokens: 5 });
});
