/** What loggers write of models and generations: a few facts, however they go about it. */
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Model } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
let model: Model;
beforeAll(async () => {
  model = await Model.load(path);
});
afterAll(() => model.dispose());

/** Far below what the vocabulary alone takes. */
const MOST_CHARACTERS = 3000;

test('JSON of a model is its info, on its own or inside', () => {
  const json = JSON.stringify(model);
  expect(json.length).toBeLessThan(MOST_CHARACTERS);
  expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(model.info)));
  expect(JSON.stringify({ model })).toBe(`{"model":${json}}`);
});

test('a model that is printed shows its info, and deep inside its name', () => {
  const text = inspect(model);
  expect(text).toMatch(/^Model \{/);
  expect(text).toContain("implementation: '");
  expect(text.length).toBeLessThan(MOST_CHARACTERS);
  expect(inspect({ model }).length).toBeLessThan(MOST_CHARACTERS);
  expect(inspect({ a: { b: { model } } })).toContain('[Model]');
});

test('a generation is its state, and not its text', async () => {
  const generation = model.generate('Once upon a time', { maxTokens: 9, temperature: 0 });
  expect(JSON.parse(JSON.stringify(generation))).toMatchObject({ state: 'running' });
  await generation.text();
  const expected = { state: 'ended', promptTokens: 5, completionTokens: 9, finishReason: 'length' };
  expect(JSON.parse(JSON.stringify({ generation }))).toEqual({ generation: expected });
  expect(inspect(generation)).toMatch(/^Generation \{\s+state: 'ended',/);
  expect(inspect({ a: { b: { generation } } })).toContain('[Generation]');
});

test('what is inside cannot be reached from outside', () => {
  expect(Object.keys(model)).toEqual(['tokenizer']);
  expect(Reflect.ownKeys(model.generate([1], { maxTokens: 1 }))).toEqual([]);
});
