/** Arrays that belong together are compared by native itself, whoever calls it. */
import { join } from 'node:path';
import { Model } from '../../lib';
import { native, type NativeModel, type NativeRequest } from '../../lib/model/native';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');

let model: Model;
let addonsModel: NativeModel;
beforeAll(async () => {
  const addon = native();
  const load = addon.load.bind(addon);
  Object.defineProperty(addon, 'load', {
    value: (async (...args) => {
      addonsModel = await load(...args);
      return addonsModel;
    }) satisfies typeof load,
  });
  model = await Model.load(path);
});
afterAll(() => model.dispose());

const request: NativeRequest = {
  prompt: Int32Array.of(1, 403),
  maxTokens: 1,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 1,
  cacheSalt: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  biasTokens: new Int32Array(0),
  biasValues: new Float32Array(0),
  stopTokens: new Int32Array(0),
  logprobs: -1,
  priority: 0,
};

test.each([
  [3, 2],
  [2, 3],
  [100_000, 0],
])('%d tokens with %d biases are an error', (tokens, values) => {
  const pair = { biasTokens: new Int32Array(tokens), biasValues: new Float32Array(values) };
  expect(() => {
    addonsModel.generate(900_000, { ...request, ...pair });
  }).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTION',
      message: `biasTokens and biasValues belong together, but have ${tokens} and ${values} entries`,
    }) as Error,
  );
});

test.each([0, 1023, 1025])('logits of one position do not go into %d values', (length) => {
  expect(() => {
    addonsModel.score(
      900_000,
      request.prompt,
      { cacheSalt: 0 },
      Int32Array.of(1),
      new Float32Array(length),
    );
  }).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }) as Error);
});

test('the model goes on after what was refused', async () => {
  expect(await model.logits([1, 403])).toHaveLength(1024);
  expect(await model.generate([1, 403], { maxTokens: 3 }).text()).not.toBe('');
});
