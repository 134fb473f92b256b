/** What is published, and that it works where it is installed. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { installWithoutScripts, pack, type Packed } from './packed';

const root = join(__dirname, '../..');
const addon = join(root, 'build/Release/tramontane.node');

let packed: Packed;
let files: readonly string[];

beforeAll(() => {
  packed = pack();
  files = packed.files;
  installWithoutScripts(packed, packed.folder);
}, 120_000);

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

describe('the package', () => {
  test('has been built', () => {
    expect(existsSync(addon)).toBe(true);
    expect(files).toContain('dist/index.js');
  });

  test('has what compiling needs: the sources of the list and their headers', () => {
    const sources = readFileSync(join(root, 'cpp/sources.txt'), 'utf8').trim().split('\n');
    expect(files).toEqual(
      expect.arrayContaining(['cpp/binding.gyp', 'cpp/sources.txt', ...sources]),
    );
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
      /^(dist|cpp|deploy|docs|models|prebuilds)\/|^(package\.json|LICENSE|(README|CHANGELOG|ARCHITECTURE|CONTRIBUTING)\.md)$/;
    expect(files.filter((file) => !expected.test(file))).toEqual([]);
    expect(
      files.filter((file) => /\.(o|log|tsbuildinfo|test\.\w+)$|^cpp\/build\//.test(file)),
    ).toEqual([]);
  });

  // The model is 0.9 MB of it, the server with its page, pictures and deploy/ 0.8 MB.
  test('is small: below 3.9 MB unpacked without prebuilt addons', () => {
    const bytes = files
      .filter((file) => !file.startsWith('prebuilds/'))
      .reduce((sum, file) => sum + readFileSync(join(root, file)).length, 0);
    expect(bytes).toBeLessThan(3.9e6);
  });

  test('has an embedded model of about a megabyte', () => {
    expect(statSync(join(root, 'models/breeze-Q4_0.gguf')).size).toBeLessThan(1.1e6);
  });
});

describe('installed without running scripts', () => {
  test('files and text need no addon', () => {
    const script = `const { inspect, loadTokenizer } = require('tramontane');
      const path = require.resolve('tramontane/models/breeze-Q4_0.gguf');
      Promise.all([inspect(path), loadTokenizer(path)]).then(([facts, tokenizer]) =>
        console.log(facts.architecture, tokenizer.vocabularySize));`;
    const output = execFileSync(process.execPath, ['-e', script], {
      cwd: packed.folder,
      encoding: 'utf8',
    });
    expect(output).toBe('llama 1024\n');
  });
});

test('the lock file names no place packages came from', () => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  expect(lock).not.toContain('"resolved": "http');
});
