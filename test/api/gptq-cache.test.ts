/** The option `gptqCache`: a file that later loads map, or do not trust. */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type LoadOptions, type LoadProgress } from '../../lib';
import { refused } from '../files/refused';
import { describeWithReference, fixture } from '../reference';
import { readReference } from './reference-logits';

const ACT_ORDER = fixture('gptq/swa-gptq-b4-g128-actorder');
const { promptIds, positions } = readReference(
  fixture('logits/swa-gptq-b4-g128-actorder.safetensors'),
);

let scratch: string;
let cache: string;
let plain: Float32Array;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'tramontane-cache-'));
  plain = (await load(ACT_ORDER, {})).logits;
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});
let number = 0;
beforeEach(() => {
  cache = join(scratch, `${number++}.cache`);
});

async function load(
  path: string,
  options: LoadOptions,
): Promise<{ use: string | undefined; logits: Float32Array }> {
  await using model = await Model.load(path, { backend: 'cpu', ...options });
  const logits = await model.logits(promptIds, { positions });
  return { use: model.info.gptqCache?.use, logits };
}

/** Loads with the cache file, and expects what a load without it gives. */
async function expectUse(use: string): Promise<void> {
  expect(await load(ACT_ORDER, { gptqCache: cache })).toEqual({ use, logits: plain });
}

const others = (): string[] =>
  readdirSync(scratch).filter((name) => name.startsWith(`${number - 1}.`) && name.endsWith('.tmp'));

test('is written once and read after that; the same bits with and without it', async () => {
  const phases: LoadProgress[] = [];
  const onProgress = (progress: LoadProgress): void => void phases.push(progress);
  const first = await load(ACT_ORDER, { gptqCache: cache, onProgress });
  expect(first).toEqual({ use: 'written', logits: plain });
  const fractions = phases.map(({ fraction }) => fraction);
  expect(phases.filter(({ phase }) => phase === 'cache')).toHaveLength(21);
  expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
  const before = statSync(cache, { bigint: true });
  await expectUse('read');
  expect(statSync(cache, { bigint: true }).mtimeNs).toBe(before.mtimeNs);
  expect(others()).toEqual([]);
});

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Where the words of each weight begin and end, as the header tells their lengths. */
function placesOf(bytes: Buffer): [start: number, end: number][] {
  const [, facts = ''] = bytes.toString('latin1').split('\n', 2);
  const { weights } = JSON.parse(facts) as { weights: { byteLength: number }[] };
  let end = bytes.indexOf('\n', bytes.indexOf('\n') + 1) + 1;
  return weights.map(({ byteLength }) => {
    const start = Math.ceil(end / 65_536) * 65_536;
    end = start + byteLength;
    return [start, end];
  });
}

test('its words are what is computed with', async () => {
  await expectUse('written');
  const bytes = readFileSync(cache);
  for (const [start, end] of placesOf(bytes)) bytes.fill(0, start, end);
  // The hash of hashes of pieces of a megabyte; no weight here has more than one.
  const hashes = placesOf(bytes).map(([start, end]) => sha256(bytes.subarray(start, end)));
  sha256(...hashes).copy(bytes, bytes.length - 32);
  writeFileSync(cache, bytes);
  const { use, logits } = await load(ACT_ORDER, { gptqCache: cache });
  expect(use).toBe('read');
  expect(logits).not.toEqual(plain);
});

test('words that were damaged are written anew, the checksum too', async () => {
  await expectUse('written');
  await expectUse('read');
  const good = readFileSync(cache);
  const [first, ...rest] = placesOf(good);
  const places = [first![0], first![1] - 1, rest.at(-1)![0] + 77, good.length - 1];
  for (const place of places) {
    const bytes = Buffer.from(good);
    bytes[place]! ^= 0x10;
    writeFileSync(cache, bytes);
    await expectUse('written');
    expect(readFileSync(cache).equals(good)).toBe(true);
  }
});

test('words are read for the checksum once, until the file or the note of that changes', async () => {
  await expectUse('written');
  /** How many weights were read for the checksum. */
  const checked = async (): Promise<number> => {
    const phases: string[] = [];
    const onProgress = ({ phase }: LoadProgress): void => void phases.push(phase);
    expect((await load(ACT_ORDER, { gptqCache: cache, onProgress })).use).toBe('read');
    return phases.filter((phase) => phase === 'cache').length;
  };
  expect([await checked(), await checked()]).toEqual([21, 0]);
  utimesSync(cache, 1e9, 1e9);
  expect([await checked(), await checked()]).toEqual([21, 0]);
  rmSync(`${cache}.checked`);
  expect([await checked(), await checked()]).toEqual([21, 0]);
  writeFileSync(`${cache}.checked`, 'a diary');
  expect([await checked(), await checked()]).toEqual([21, 21]);
  expect(readFileSync(`${cache}.checked`, 'utf8')).toBe('a diary');
});

test('an exception of onProgress passes through, whether the file is written or read', async () => {
  const mine = new Error('mine');
  const onProgress = ({ phase }: LoadProgress): void => {
    if (phase === 'cache') throw mine;
  };
  const options = { backend: 'cpu', gptqCache: cache } as const;
  await expect(Model.load(ACT_ORDER, { ...options, onProgress })).rejects.toBe(mine);
  expect(others()).toEqual([]);
  await expectUse('written');
  await expect(Model.load(ACT_ORDER, { ...options, onProgress })).rejects.toBe(mine);
});

test('is left alone where nothing needs it', async () => {
  expect((await load(ACT_ORDER, { gptqCache: cache, compute: 'f32' })).use).toBe('unused');
  expect((await load(fixture('gguf/swa-Q4_0.gguf'), { gptqCache: cache })).use).toBe('unused');
  expect(existsSync(cache)).toBe(false);
  await using model = await Model.load(ACT_ORDER);
  expect(model.info).not.toHaveProperty('gptqCache');
});

describe('a file that does not fit is written anew', () => {
  let good: Buffer;
  beforeEach(async () => {
    await expectUse('written');
    good = readFileSync(cache);
  });

  const headerEnd = (): number => good.indexOf('\n', good.indexOf('\n') + 1);

  test.each([
    ['version', '"version":2', '"version":1'],
    ["a source's name", '"name":"model.safetensors"', '"name":"mobel.safetensors"'],
    ["a source's length", '"byteLength":', '"byteLength":9'],
    ["a source's time", '"modified":"', '"modified":"9'],
    ["a weight's name", 'self_attn.k_proj', 'self_attn.v_proj'],
    ['bits', '"bits":4', '"bits":8'],
    ['group size', '"groupSize":128', '"groupSize":256'],
    ['order', '"orderedColumns":256', '"orderedColumns":288'],
    ['a place', '"offset":', '"offset":1'],
    ['syntax', '{', '['],
  ])('%s', async (_, from, to) => {
    const header = good.toString('latin1', 0, headerEnd());
    expect(header).toContain(from);
    const changed = Buffer.from(header.replace(from, to), 'latin1');
    writeFileSync(cache, Buffer.concat([changed, good.subarray(headerEnd())]));
    await expectUse('written');
    expect(readFileSync(cache).equals(good)).toBe(true);
  });

  test('every byte of the header that may be wrong', async () => {
    for (let at = good.indexOf('\n') + 1; at < headerEnd(); at += 997) {
      const changed = Buffer.from(good);
      changed[at]! ^= 1;
      writeFileSync(cache, changed);
      await using model = await Model.load(ACT_ORDER, { backend: 'cpu', gptqCache: cache });
      expect(model.info.gptqCache?.use).toBe('written');
    }
  });

  test.each([
    ['cut short by a byte', () => good.length - 1],
    ['cut after the header', headerEnd],
    ['cut in the header', () => 200],
    ['longer', () => good.length + 1],
  ])('%s', async (_, length) => {
    truncateSync(cache, length());
    await expectUse('written');
    expect(readFileSync(cache).equals(good)).toBe(true);
  });

  test('of a model that was written anew, or is another', async () => {
    const copy = join(scratch, `copy-${number}`);
    cpSync(ACT_ORDER, copy, { recursive: true });
    const weights = join(copy, 'model.safetensors');
    utimesSync(weights, 1e9, 1e9);
    const options = { gptqCache: cache };
    expect(await load(copy, options)).toEqual({ use: 'written', logits: plain });
    expect(await load(copy, options)).toEqual({ use: 'read', logits: plain });
    utimesSync(weights, 1e9, 1e9 + 1);
    expect(await load(copy, options)).toEqual({ use: 'written', logits: plain });
  });
});

test.each([
  ['no cache', 'a diary'],
  ['empty', ''],
  ['a cache with a broken first line', 'tramontane GPTQ cachE\n{}'],
])('a file that is %s is not overwritten', async (_, content) => {
  writeFileSync(cache, content);
  const loading = Model.load(ACT_ORDER, { backend: 'cpu', gptqCache: cache });
  await refused(loading, 'INVALID_OPTION', 'gptqCache', cache, 'not overwritten');
  expect(readFileSync(cache, 'utf8')).toBe(content);
});

test('a path that cannot be read or written is an error that names it', async () => {
  mkdirSync(cache);
  const options = { backend: 'cpu', gptqCache: cache } as const;
  await refused(Model.load(ACT_ORDER, options), 'INVALID_OPTION', cache);
  const missing = join(cache, 'no-such-folder', 'file');
  const nowhere = Model.load(ACT_ORDER, { ...options, gptqCache: missing });
  await refused(nowhere, 'FILE_NOT_WRITABLE', missing, 'ENOENT');
  const inside = join(ACT_ORDER, 'config.json', 'file');
  const wrong = Model.load(ACT_ORDER, { ...options, gptqCache: inside });
  await refused(wrong, 'FILE_NOT_READABLE', inside);
  for (const gptqCache of ['', 4, null]) {
    const loading = Model.load(ACT_ORDER, { gptqCache } as unknown as LoadOptions);
    await refused(loading, 'INVALID_OPTION', 'gptqCache must be the path of a file');
  }
});

test('many that write at once all have the same words, and leave one file', async () => {
  const loads = await Promise.all(
    Array.from({ length: 6 }, () => load(ACT_ORDER, { gptqCache: cache })),
  );
  for (const { logits } of loads) expect(logits).toEqual(plain);
  expect(others()).toEqual([]);
  await expectUse('read');
});

test('a load that is given up leaves no file', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const loading = Model.load(ACT_ORDER, {
    backend: 'cpu',
    gptqCache: cache,
    signal: controller.signal,
    onProgress: ({ phase }) => {
      if (phase === 'cache') controller.abort(reason);
    },
  });
  await expect(loading).rejects.toBe(reason);
  expect(existsSync(cache)).toBe(false);
  expect(others()).toEqual([]);
});

test('a model that is running keeps the file it has mapped when another takes its place', async () => {
  await expectUse('written');
  await using model = await Model.load(ACT_ORDER, { backend: 'cpu', gptqCache: cache });
  rmSync(cache);
  writeFileSync(cache, 'tramontane GPTQ cache\n');
  expect(await model.logits(promptIds, { positions })).toEqual(plain);
});

describeWithReference('a cache file for every kind of act-order', (directory) => {
  test.each([
    'gptq/swa-gptq-b2-g64',
    'gptq/swa-gptq-b4-g64-asym-actorder-v2',
    'gptq/full-gptq-b4-g128-actorder',
    'demo/breeze-gptq',
  ])('%s', async (name) => {
    const path = join(directory, name);
    const without = await load(path, {});
    const gptqCache = cache;
    expect(await load(path, { gptqCache })).toEqual({ ...without, use: 'written' });
    expect(await load(path, { gptqCache })).toEqual({ ...without, use: 'read' });
  });
});
