/** Which window applies, and that it is the one that is computed with. */
import { Model } from '../../lib';
import { fixture } from '../reference';
import { largestDifference, readReference } from './reference-logits';

const withKey = fixture('gguf/swa-Q4_0.gguf');
const withoutKey = fixture('gguf/swa-Q4_0-nowindowkey.gguf');
const { promptIds, positions } = readReference(fixture('logits/swa-Q4_0.safetensors'));
const noKeyReference = readReference(fixture('logits/swa-Q4_0-nowindowkey.safetensors'));

async function logits(path: string, slidingWindow?: number | false): Promise<Float32Array> {
  await using model = await Model.load(path, slidingWindow === undefined ? {} : { slidingWindow });
  return await model.logits(promptIds, { positions });
}

test('the option gives a file without the key the same logits as the key does', async () => {
  expect(await logits(withoutKey, 48)).toEqual(await logits(withKey));
});

test('false switches the window off, whether the file has the key or not', async () => {
  const off = await logits(withKey, false);
  expect(off).toEqual(await logits(withoutKey, false));
  expect(largestDifference(off, await logits(withKey))).toBeGreaterThan(0.1);
});

test('a window off by one shows', async () => {
  const right = await logits(withKey);
  expect(largestDifference(await logits(withKey, 47), right)).toBeGreaterThan(0.05);
  expect(largestDifference(await logits(withKey, 49), right)).toBeGreaterThan(0.05);
});

test('info says which window applies and why', async () => {
  const window = async (path: string, options: Parameters<typeof Model.load>[1] = {}) => {
    await using model = await Model.load(path, options);
    return model.info.slidingWindow;
  };
  expect(await window(withKey)).toEqual({ size: 48, source: 'file' });
  expect(await window(withoutKey)).toEqual({ size: null, source: 'none' });
  expect(await window(withKey, { slidingWindow: 100 })).toEqual({ size: 100, source: 'option' });
  expect(await window(withKey, { slidingWindow: false })).toEqual({ size: null, source: 'option' });
});

test('a context larger than the file says needs a window', async () => {
  await expect(Model.load(withoutKey, { contextSize: 5000 })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('contextSize') as string,
  });
  await using model = await Model.load(withKey, { contextSize: 5000 });
  expect(model.info.contextSize).toBe(5000);
});

test('a windowed generation holds the same pages for twenty windows, and stays right', async () => {
  await using model = await Model.load(withKey);
  const { greedyIds } = noKeyReference;
  expect(greedyIds.length).toBe(48);
  const generation = model.generate(promptIds, {
    temperature: 0,
    maxTokens: 20 * 48,
    ignoreEos: true,
  });
  const pages = new Set<number>();
  const tokens: number[] = [];
  for await (const chunk of generation) {
    tokens.push(...chunk.tokenIds);
    if (tokens.length < 20 * 48 - 16) pages.add(model.info.kvCache.pagesInUse);
  }
  expect(tokens.length).toBe(20 * 48);
  // W = 48 needs 2 or 3 pages of 32, whatever the position.
  expect(Math.max(...pages)).toBeLessThanOrEqual(3);
  // The last token is what the last tokens alone make of it: nothing older is seen. With three
  // layers, a token depends on 3 * 47 tokens before it.
  const all = [...promptIds, ...tokens];
  const last = all.slice(0, -1);
  const whole = await model.logits(last);
  const best = whole.indexOf(Math.max(...whole));
  expect(best).toBe(all[all.length - 1]);
});
