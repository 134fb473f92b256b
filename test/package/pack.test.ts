/** What is published, and that it works where it is installed. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '../..');
const addon = join(root, 'build/Release/tramontane.node');
const platform = `${process.platform}-${process.arch}`;

let folder: string;
/** The package as `npm install --ignore-scripts` leaves it: unpacked, nothing run. */
let installed: string;
let files: string[];

interface Packed {
  readonly filename: string;
  readonly files: { readonly path: string }[];
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tramontane-pack-'));
  const report = npm('pack', '--json', '--ignore-scripts', '--pack-destination', folder);
  const [packed] = JSON.parse(report) as [Packed];
  files = packed.files.map(({ path }) => path);
  execFileSync('tar', ['xzf', packed.filename], { cwd: folder });
  installed = join(folder, 'node_modules/tramontane');
  mkdirSync(join(folder, 'node_modules'));
  cpSync(join(folder, 'package'), installed, { recursive: true });
  rmSync(join(installed, 'prebuilds'), { recursive: true, force: true }); // Tests bring their own.
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
}, 120_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the package', () => {
  test('has been built', () => {
    expect(existsSync(addon)).toBe(true);
    expect(files).toContain('dist/index.js');
  });

  test('has what compiling needs: the sources of the list and their headers', () => {
    const sources = readFileSync(join(root, 'cpp/sources.txt'), 'utf8').trim().split('\n');
    expect(files).toEqual(expect.arrayContaining(['binding.gyp', 'cpp/sources.txt', ...sources]));
    expect(files).toContain('cpp/backend/backend.h');
  });

  test('has types, the command, the embedded model, the documents', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'dist/index.d.ts',
        'dist/cli/main.js',
        'models/breeze-Q4_0.gguf',
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'ARCHITECTURE.md',
      ]),
    );
  });

  test('has nothing else: no tests, no configuration, no leavings of builds', () => {
    const expected =
      /^(dist|cpp|models|prebuilds)\/|^(package\.json|binding\.gyp|LICENSE|(README|CHANGELOG|ARCHITECTURE)\.md)$/;
    expect(files.filter((file) => !expected.test(file))).toEqual([]);
    expect(files.filter((file) => /\.(o|log|tsbuildinfo|test\.\w+)$/.test(file))).toEqual([]);
  });

  test('is small: below 3 MB unpacked without prebuilt addons', () => {
    const bytes = files
      .filter((file) => !file.startsWith('prebuilds/'))
      .reduce((sum, file) => sum + readFileSync(join(root, file)).length, 0);
    expect(bytes).toBeLessThan(3e6);
  });

  test('has an embedded model of about a megabyte', () => {
    expect(statSync(join(root, 'models/breeze-Q4_0.gguf')).size).toBeLessThan(1.1e6);
  });
});

describe('installed without running scripts', () => {
  const program = `
    const { Model, TramontaneError } = require('tramontane');
    const path = require.resolve('tramontane/models/breeze-Q4_0.gguf');
    Model.load(path).then(async (model) => {
      const { tokenIds } = await model.generate('Once', { maxTokens: 5, temperature: 0, ignoreEos: true }).result();
      console.log(JSON.stringify({ tokens: tokenIds.length }));
    }).catch((error) => {
      console.log(JSON.stringify({ typed: error instanceof TramontaneError, code: error.code, message: error.message }));
    });`;
  const runProgram = () =>
    JSON.parse(
      execFileSync(process.execPath, ['-e', program], { cwd: folder, encoding: 'utf8' }),
    ) as {
      tokens?: number;
      code?: string;
      message?: string;
    };

  test('with neither build nor prebuilt addon says how to compile it', () => {
    const failure = runProgram();
    expect(failure).toMatchObject({ typed: true, code: 'NATIVE_UNAVAILABLE' });
    expect(failure.message).toContain('npm rebuild tramontane');
    expect(failure.message).toContain(platform);
    expect(failure.message).not.toContain('\n');
  });

  test('files and text need no addon', () => {
    const script = `const { inspect, loadTokenizer } = require('tramontane');
      const path = require.resolve('tramontane/models/breeze-Q4_0.gguf');
      Promise.all([inspect(path), loadTokenizer(path)]).then(([facts, tokenizer]) =>
        console.log(facts.architecture, tokenizer.vocabularySize));`;
    const output = execFileSync(process.execPath, ['-e', script], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(output).toBe('llama 1024\n');
  });

  test('with a prebuilt addon runs', () => {
    const prebuilds = join(installed, 'prebuilds', platform);
    mkdirSync(prebuilds, { recursive: true });
    cpSync(addon, join(prebuilds, 'tramontane.node'));
    expect(runProgram()).toEqual({ tokens: 5 });
    rmSync(prebuilds, { recursive: true });
  });

  test('an addon that cannot be loaded is an error with the way out, not a crash', () => {
    const prebuilds = join(installed, 'prebuilds', platform);
    mkdirSync(prebuilds, { recursive: true });
    writeFileSync(join(prebuilds, 'tramontane.node'), 'not an addon');
    expect(runProgram()).toMatchObject({ typed: true, code: 'NATIVE_UNAVAILABLE' });
    rmSync(prebuilds, { recursive: true });
  });

  test('its types are enough for a strict TypeScript program', () => {
    writeFileSync(
      join(folder, 'program.ts'),
      `import { Model, TramontaneError, inspect, loadTokenizer, type Generation } from 'tramontane';
       export async function main(): Promise<string> {
         await using model: Model = await Model.load('x.gguf', { slidingWindow: false, threads: 2 });
         const generation: Generation = model.generate([1, 2], { logitBias: new Map([[1, 2]]) });
         for await (const { text, tokenIds, logprobs } of generation) {
           const id: number | undefined = logprobs?.[0]?.top[0]?.token ?? tokenIds[0];
           if (text === String(id)) break;
         }
         const { finishReason } = await generation.result();
         // @ts-expect-error a misspelt option
         model.generate('x', { maxToken: 1 });
         const code: 'INVALID_FILE' extends TramontaneError['code'] ? true : never = true;
         const { layers } = await inspect('x.gguf');
         const ids: number[] = (await loadTokenizer('x.gguf')).encode('x', { bos: code });
         return finishReason === 'stop' ? String(layers) : ids.join();
       }`,
    );
    const settings = ['--strict', '--noEmit', '--module', 'node16', '--target', 'es2022'];
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
    const lib = ['--lib', 'es2023,esnext.disposable'];
    execFileSync(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), ...settings, ...types, ...lib, 'program.ts'],
      { cwd: folder, encoding: 'utf8' },
    );
  });
});

test('the lock file names no place packages came from', () => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  expect(lock).not.toContain('"resolved": "http');
});

function npm(...args: string[]): string {
  const shell = process.platform === 'win32';
  return execFileSync(shell ? 'npm.cmd' : 'npm', args, {
    cwd: root,
    encoding: 'utf8',
    shell,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}
