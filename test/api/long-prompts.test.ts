/** Prompts too long to be encoded at once: the event loop goes on meanwhile. */
import { join } from 'node:path';
import { Model } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
/** About a megabyte, and a quarter of a million tokens. */
const text = 'the little dog ran to the park. '.repeat(32_768);
const options = { maxTokens: 5, temperature: 0, ignoreEos: true };

let model: Model;
beforeAll(async () => {
  model = await Model.load(path, { contextSize: 2 ** 20 });
});
afterAll(() => model.dispose());

test('a text that cannot fit is refused by its length, before it is encoded', () => {
  const longest = 'a'.repeat(16 * 2 ** 20);
  const encode = jest.spyOn(model.tokenizer, 'encode');
  expect(() => model.generate(longest)).toThrow(/at least \d+ tokens.*1048576/);
  expect(encode).not.toHaveBeenCalled();
  encode.mockRestore();
});

test('one that may fit is encoded beside the event loop; what that tells rejects it', async () => {
  await using small = await Model.load(path, { contextSize: 150_000 });
  // Letters of which no pair merges: many more tokens than their number says at least.
  const letters = 'z q j '.repeat(100_000);
  let turns = 0;
  let ended = false;
  const turn = (): void => {
    turns++;
    if (!ended) setImmediate(turn);
  };
  const generation = small.generate(letters);
  expect(generation.toJSON().state).toBe('running');
  turn();
  const refused = { code: 'INVALID_PROMPT', message: expect.stringMatching(/150000/) as string };
  await expect(generation.result()).rejects.toMatchObject(refused);
  ended = true;
  expect(turns).toBeGreaterThan(10);
  await expect(small.logits(letters)).rejects.toMatchObject(refused);
  const half = `${'a'.repeat(20_000)}\ud83d`;
  await expect(model.generate(half).text()).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
});

test('its tokens are the same as of the text encoded at once', async () => {
  const long = text.slice(0, 20_000);
  const ids = model.tokenizer.encode(long, { bos: model.tokenizer.addBos });
  const result = await model.generate(long, options).result();
  expect(result.usage.promptTokens).toBe(ids.length);
  expect(result.tokenIds).toEqual((await model.generate(ids, options).result()).tokenIds);
});

test('it can be aborted, by itself, by a signal or with its model, before it is encoded', async () => {
  const aborted = model.generate(text, options);
  aborted.abort();
  expect(await aborted.result()).toMatchObject({ finishReason: 'aborted', tokenIds: [] });
  const controller = new AbortController();
  const signalled = model.generate(text, { ...options, signal: controller.signal });
  controller.abort();
  expect((await signalled.result()).finishReason).toBe('aborted');
  const other = await Model.load(path, { contextSize: 2 ** 20 });
  const disposed = other.generate(text, options);
  const scored = other.perplexity(text);
  scored.catch(() => undefined);
  await other.dispose();
  expect((await disposed.result()).finishReason).toBe('aborted');
  await expect(scored).rejects.toMatchObject({ code: 'DISPOSED' });
});
