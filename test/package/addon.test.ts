/** An addon that cannot be used: the error says why and what to do, and doing it helps. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
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

describe('neither built nor prebuilt: the package manager’s own way to run the install script', () => {
  // What each leaves in an installed project, and what it is told by. The commands themselves are
  // run by `npm run test:package-managers`.
  test.each([
    ['npm', '.package-lock.json', 'npm approve-scripts tramontane && npm rebuild tramontane'],
    [
      'pnpm',
      '.modules.yaml',
      'pnpm add --allow-build=tramontane tramontane && pnpm rebuild tramontane',
    ],
    ['Yarn 1', '.yarn-integrity', 'yarn install --force'],
    [
      'Yarn',
      '.yarn-state.yml',
      'npm pkg set --json dependenciesMeta.tramontane.built=true && yarn rebuild tramontane',
    ],
    ['Bun', '../bun.lock', 'bun pm trust tramontane'],
    ['Deno', '.deno', 'deno approve-scripts npm:tramontane'],
  ])('%s', (_, left, command) => {
    writeFileSync(join(project, 'node_modules', left), '');
    const output = failure('program.cjs');
    expect(output.message).toContain(platform);
    expect(commandOf(output)).toBe(command);
  });

  test('npm, installed for the whole machine: there is no project to approve it in', () => {
    writeFileSync(join(project, 'node_modules/.package-lock.json'), '');
    rmSync(join(project, 'package.json'));
    const command = commandOf(failure('program.cjs'));
    expect(command).toBe('npm install -g --allow-scripts=tramontane tramontane');
  });

  test('none that is known: the install script itself', () => {
    const command = commandOf(failure('program.cjs'));
    expect(command).toBe(`node ${join(installed, 'scripts/install.js')}`);
    expect(existsSync(join(installed, 'scripts/install.js'))).toBe(true);
  });
});

test('an addon that cannot be loaded: which, why, and how to compile one', () => {
  addPrebuilt(installed);
  const prebuilt = join(installed, 'prebuilds', platform, 'tramontane.node');
  writeFileSync(prebuilt, 'not an addon');
  const output = failure('program.cjs');
  expect(output.message).toContain(`${prebuilt} does not load`);
  expect(commandOf(output)).toBe(`node ${join(installed, 'scripts/install.js')}`);
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
