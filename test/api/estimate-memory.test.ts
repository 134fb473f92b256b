/** What a model will take, before it is loaded. `scripts/measure-memory.ts` has what it does take. */
import { statSync } from 'node:fs';
import { estimateMemory, Model } from '../../lib';
import { fixture } from '../reference';

const path = fixture('gguf/swa-Q4_0.gguf');

test('the cache is that of so many whole conversations', async () => {
  const one = await estimateMemory(path, { contextSize: 256, slidingWindow: false });
  const four = await estimateMemory(path, { contextSize: 256, slidingWindow: false, users: 4 });
  const longer = await estimateMemory(path, { contextSize: 512, slidingWindow: false });
  expect(one.kvCache).toBe(256 * one.bytesPerToken);
  expect(four.kvCache).toBe(4 * one.kvCache);
  expect(longer.kvCache).toBe(2 * one.kvCache);
  expect(one.fits).toBe(true);
  expect(one.advice).toEqual([]);
});

test('a token has keys and values of every layer', async () => {
  await using model = await Model.load(path);
  const { layers, kvHeads, headSize } = model.info;
  const { bytesPerToken } = await estimateMemory(path);
  expect(bytesPerToken).toBe(2 * layers * kvHeads * headSize * 2);
  const wide = await estimateMemory(path, { kvCacheType: 'f32' });
  expect(wide.bytesPerToken).toBe(2 * bytesPerToken);
});

test('a window bounds what a conversation holds', async () => {
  const options = { contextSize: 100_000, slidingWindow: 64 };
  const { kvCache, bytesPerToken } = await estimateMemory(path, options);
  expect(kvCache).toBeLessThan(2000 * bytesPerToken);
});

test('files that are read are there as a whole', async () => {
  const { weights } = await estimateMemory(path, { mapping: 'read' });
  expect(weights).toBe(statSync(path).size);
});

test('the parts add up', async () => {
  const { weights, orderedWeights, kvCache, scratch, tokenizer, total } =
    await estimateMemory(path);
  expect(weights + orderedWeights + kvCache + scratch + tokenizer).toBe(total);
});

test('mapped weights are not its own: the system can drop them', async () => {
  const mapped = await estimateMemory(path);
  expect(mapped.own).toBe(mapped.total - mapped.weights);
  const read = await estimateMemory(path, { mapping: 'read' });
  expect(read.own).toBe(read.total);
  const gptq = fixture('gptq/swa-gptq-b4-g128-actorder');
  const ordered = await estimateMemory(gptq);
  const cached = await estimateMemory(gptq, { gptqCache: 'ordered.cache' });
  expect(ordered.own - cached.own).toBe(ordered.orderedWeights);
  expect(ordered.orderedWeights).toBeGreaterThan(0);
});

test('what does not fit has advice that does', async () => {
  const options = { kvCacheType: 'f32', slidingWindow: false } as const;
  const users = 1_000_000;
  // What is free changes with what else runs: the advice is held against what it was given for.
  const { fits, advice, free } = await estimateMemory(path, { ...options, users });
  expect(fits).toBe(false);
  const fewer = Number(/users: (\d+)/.exec(advice.join('\n'))?.[1]);
  const { total } = await estimateMemory(path, { ...options, users: fewer });
  expect(total).toBeLessThanOrEqual(free.bytes);
  const size = /contextSize: (\d+)/.exec(advice.join('\n'))?.[1];
  if (size !== undefined) {
    const smaller = await estimateMemory(path, { ...options, users, contextSize: Number(size) });
    expect(smaller.kvCache).toBeLessThan(users * 4096 * smaller.bytesPerToken);
  }
});

test('options are checked', async () => {
  await expect(estimateMemory(path, { users: 0 })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  });
  await expect(estimateMemory(path, { nonsense: 1 } as object)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  });
});
