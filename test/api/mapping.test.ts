/** The option `mapping`: how a model's files come into memory, and what each way protects from. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type LoadOptions } from '../../lib';

const root = join(__dirname, '../..');
const original = join(root, 'models/breeze-Q4_0.gguf');
const posix = process.platform === 'win32' ? test.skip : test;
const linux = process.platform === 'linux' ? test : test.skip;

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  path = join(directory, 'model.gguf');
  copyFileSync(original, path);
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const story = (model: Model): Promise<string> =>
  model.generate('Once upon a time', { maxTokens: 12, temperature: 0 }).text();

const WAYS = ['shared', 'private', 'read'] as const satisfies LoadOptions['mapping'][];

test.each(WAYS)('%s gives the same text', async (mapping) => {
  await using expected = await Model.load(path);
  await using model = await Model.load(path, { mapping });
  expect(await story(model)).toBe(await story(expected));
});

// `r--s` is a shared mapping, `r--p` a private one.
linux.each([
  [undefined, 's'],
  ['shared', 's'],
  ['private', 'p'],
  ['read', undefined],
] as const)('%s maps the file so: %s', async (mapping, expected) => {
  await using model = await Model.load(path, mapping ? { mapping } : {});
  await story(model);
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const mapped = maps.filter((line) => line.endsWith(path)).map((line) => line.split(' ')[1]!);
  expect(mapped).toEqual(expected ? expect.arrayContaining([`r--${expected}`]) : []);
});

posix.each(['shared', 'private'] as const)(
  '%s: a file that is cut short is an error of the request',
  async (mapping) => {
    await using model = await Model.load(path, { mapping });
    await story(model);
    truncateSync(path, 4096);
    await expect(story(model)).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
  },
);

posix('read: what becomes of the file does not matter', async () => {
  await using model = await Model.load(path, { mapping: 'read' });
  const expected = await story(model);
  writeFileSync(path, readFileSync(path).fill(7, 4096));
  expect(await story(model)).toBe(expected);
  truncateSync(path, 4096);
  expect(await story(model)).toBe(expected);
});

test('reading reports progress, and can be given up', async () => {
  const fractions: number[] = [];
  const onProgress: LoadOptions['onProgress'] = ({ phase, fraction }) => {
    if (phase === 'weights') fractions.push(fraction);
  };
  await using model = await Model.load(path, { mapping: 'read', onProgress });
  expect(await story(model)).not.toBe('');
  expect(fractions.length).toBeGreaterThan(1);
  expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
  const reason = new Error('changed my mind');
  const given = Model.load(path, {
    mapping: 'read',
    onProgress: ({ fraction }) => {
      if (fraction > 0.6) throw reason;
    },
  });
  await expect(given).rejects.toBe(reason);
});

// As FUSE with direct_io and 9p are. No such file system can be had in a test: a shim says so.
linux('where the file system knows no shared mappings, the default is private', () => {
  const source = join(directory, 'shim.c');
  const shim = join(directory, 'shim.so');
  writeFileSync(
    source,
    `#define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <sys/mman.h>
    void *mmap64(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
      void *(*next)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap64");
      if (file >= 0 && (flags & MAP_SHARED)) {
        errno = ENODEV;
        return MAP_FAILED;
      }
      return next(at, bytes, protection, flags, file, offset);
    }
    void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
      return mmap64(at, bytes, protection, flags, file, offset);
    }`,
  );
  execFileSync('cc', ['-shared', '-fPIC', '-o', shim, source, '-ldl']);
  const script = `
    const { readFileSync } = require('node:fs');
    const { Model } = require(${JSON.stringify(join(root, 'lib'))});
    Model.load(${JSON.stringify(path)}).then(async (model) => {
      const text = await model.generate('Once upon a time', { maxTokens: 12, temperature: 0 }).text();
      const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n');
      const kinds = maps.filter((line) => line.endsWith(${JSON.stringify(path)}));
      console.log(JSON.stringify({ text, kinds: kinds.map((line) => line.split(' ')[1]) }));
      await model.dispose();
    });`;
  const options = ['-r', join(root, 'scripts/typescript.js'), '-e', script];
  const env = { ...process.env, LD_PRELOAD: shim };
  const out = execFileSync(process.execPath, options, { env, encoding: 'utf8', cwd: root });
  const { text, kinds } = JSON.parse(out) as { text: string; kinds: string[] };
  expect(text).not.toBe('');
  expect(new Set(kinds)).toEqual(new Set(['r--p']));
});
