/** What callers pass is checked at once, and the message names it. */
import { join } from 'node:path';
import { Model, TramontaneError, type GenerateOptions, type LoadOptions } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
let model: Model;
beforeAll(async () => {
  model = await Model.load(path);
});
afterAll(() => model.dispose());

const badGenerate: [string, unknown][] = [
  ['maxTokens', 0],
  ['maxTokens', 1.5],
  ['maxTokens', '10'],
  ['temperature', -1],
  ['temperature', NaN],
  ['topK', -1],
  ['topP', 0],
  ['topP', 1.1],
  ['minP', 2],
  ['seed', -1],
  ['seed', 2 ** 60],
  ['repetitionPenalty', 0],
  ['presencePenalty', Infinity],
  ['frequencyPenalty', 'x'],
  ['logitBias', { 5: 1 }],
  ['logitBias', new Map([[5000, 1]])],
  ['logitBias', new Map([[5, NaN]])],
  ['allowedTokens', []],
  ['allowedTokens', [1.5]],
  ['stop', 'a'],
  ['stop', ['']],
  ['stop', [1]],
  ['stopTokens', [-1]],
  ['ignoreEos', 1],
  ['logprobs', 1000],
  ['signal', {}],
];

test.each(badGenerate)('generate() refuses %s: %p', (name, value) => {
  const options = { [name]: value } as GenerateOptions;
  expect(() => model.generate('a', options)).toThrow(TramontaneError);
  expect(() => model.generate('a', options)).toThrow(name);
});

test('unknown options are errors that list the known ones', async () => {
  const options = { max_tokens: 5 } as unknown as GenerateOptions;
  expect(() => model.generate('a', options)).toThrow(/max_tokens.*maxTokens/s);
  const load = { gpu: true } as unknown as LoadOptions;
  await expect(Model.load(path, load)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('gpu') as string,
  });
});

test.each([
  ['threads', 0],
  ['threads', 'many'],
  ['contextSize', 0],
  ['contextSize', 2 ** 31],
  ['slidingWindow', 0],
  ['slidingWindow', true],
  ['compute', 'f16'],
  ['kvCacheType', 'int8'],
  ['kvCacheTokens', -5],
  ['preload', 'yes'],
  ['onProgress', 5],
  ['signal', 5],
])('load() refuses %s: %p', async (name, value) => {
  await expect(Model.load(path, { [name]: value })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining(name) as string,
  });
});

test('prompts: empty, unknown tokens, not text', () => {
  expect(() => model.generate('')).toThrow(/empty/);
  expect(() => model.generate([])).toThrow(/empty/);
  expect(() => model.generate([1024])).toThrow(/prompt\[0\].*1023/);
  expect(() => model.generate([1, 2.5])).toThrow(/prompt\[1\]/);
  expect(() => model.generate(5 as unknown as string)).toThrow(/prompt/);
});

test('logits() and perplexity() check their arguments', async () => {
  await expect(model.logits([])).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
  await expect(model.logits([5], { positions: [1] })).rejects.toThrow(/positions\[0\]/);
  await expect(model.logits([5], { positions: [] })).rejects.toThrow(/positions/);
  await expect(model.perplexity([5])).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
});

test('a file that is not there, a directory without a model', async () => {
  await expect(Model.load('/nowhere/model.gguf')).rejects.toMatchObject({
    code: 'FILE_NOT_READABLE',
  });
  await expect(Model.load(__dirname)).rejects.toBeInstanceOf(TramontaneError);
  await expect(Model.load('')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
});

test('a request larger than the cache is refused at once, with both numbers', async () => {
  await using small = await Model.load(path, { kvCacheTokens: 64, slidingWindow: false });
  expect(() => small.generate(new Array<number>(40).fill(5), { maxTokens: 40 })).toThrow(/96.*64/);
});
