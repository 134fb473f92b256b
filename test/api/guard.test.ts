/** chat({ guard }): what is judged, what is given out, and what is said of the rest. */
import { join } from 'node:path';
import { Model, type Message, type PolicyLabel } from '../../lib';

/** A policy that finds everything, or nothing. */
const policy = (threshold: number): { policy: readonly PolicyLabel[] } => ({
  policy: [{ label: 'any', definition: 'is a text', threshold }],
});
const ALL = policy(0);
const NONE = policy(1);
const messages: Message[] = [{ role: 'user', content: 'Tell me a story about a dog.' }];
const options = { seed: 4, temperature: 0.5, maxTokens: 60 } as const;

let model: Model;

beforeAll(async () => {
  model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
});
afterAll(() => model.dispose());

test('a question that is refused gets no answer', async () => {
  const generation = model.chat(messages, { ...options, guard: { input: ALL } });
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  expect(chunks).toEqual([{ text: '', tokenIds: [], finishReason: 'refused' }]);
  const result = await generation.result();
  expect(result).toMatchObject({
    text: '',
    finishReason: 'refused',
    refusal: { by: 'input', labels: ['any'], scores: { any: expect.any(Number) } },
    usage: { completionTokens: 0 },
  });
  await expect(result.json()).rejects.toMatchObject({ code: 'INCOMPLETE_OUTPUT' });
});

test('an answer is cut at its first refused sentence, which is not given out', async () => {
  const plain = await model.chat(messages, options).text();
  const generation = model.chat(messages, { ...options, guard: { output: ALL } });
  let text = '';
  for await (const chunk of generation) text += chunk.text;
  const { refusal, finishReason } = await generation.result();
  expect(text).toBe('');
  expect(finishReason).toBe('refused');
  expect(refusal?.by).toBe('output');
  expect(plain.startsWith(refusal!.text!)).toBe(true);
  expect(refusal!.text!.length).toBeLessThan(plain.length);
});

test('what passes is the answer without a guard, in the same text', async () => {
  const plain = await model.chat(messages, options).result();
  const guarded = model.chat(messages, { ...options, guard: { input: NONE, output: NONE } });
  let text = '';
  for await (const chunk of guarded) text += chunk.text;
  const result = await guarded.result();
  expect(text).toBe(plain.text);
  expect(result.message).toEqual(plain.message);
  expect(result.refusal).toBeUndefined();
  expect(await model.chat(messages, { ...options, guard: { output: NONE } }).text()).toBe(text);
});

test('aborting ends it, before and while it answers', async () => {
  const early = model.chat(messages, { ...options, guard: { input: NONE } });
  early.abort();
  expect((await early.result()).finishReason).toBe('aborted');
  const late = model.chat(messages, { ...options, guard: { output: NONE } });
  for await (const { text } of late) if (text !== '') break;
  expect((await late.result()).finishReason).toBe('aborted');
  expect(JSON.parse(JSON.stringify(late))).toMatchObject({ state: 'ended' });
});

test.each([
  [{ guard: { input: 5 } }, /guard\.input/],
  [{ guard: { inputs: true } }, /no option inputs/],
  [{ guard: { output: { policy: [] } } }, /1 to 64 labels/],
  [{ guard: 1 }, /guard/],
])('refuses %j', (wrong, message) => {
  expect(() => model.chat(messages, wrong as never)).toThrow(message);
});

test('judgements share no prompts with users whom the chat shares none with', async () => {
  const moderate = jest.spyOn(model, 'moderate');
  const guard = { input: NONE, output: NONE };
  await model.chat(messages, { ...options, guard, cacheSalt: 'mine' }).text();
  const salts = moderate.mock.calls.map(([, given]) => given?.cacheSalt);
  moderate.mockRestore();
  expect(salts.length).toBeGreaterThan(1);
  expect(new Set(salts)).toEqual(new Set(['mine']));
});
