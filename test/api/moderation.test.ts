/** moderate(): scores are what the model says of each label, whatever that is worth. */
import { join } from 'node:path';
import { Model, NOT_MODERATED, type Message, type PolicyLabel } from '../../lib';
import { moderationMessages } from '../../lib/model/moderation';

const POLICY: readonly PolicyLabel[] = [
  { label: 'sad', definition: 'makes one cry' },
  { label: 'very happy', definition: 'makes one laugh', threshold: 0.001 },
];

let model: Model;

beforeAll(async () => {
  model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
});
afterAll(() => model.dispose());

test('scores sum to 1 and are those of each label forced on the model token by token', async () => {
  const subject = 'The dog was lost.';
  const { results } = await model.moderate(subject, { policy: POLICY });
  const [{ category_scores: scores, flagged, categories }] = results;
  expect(Object.keys(scores)).toEqual(['sad', 'very happy', NOT_MODERATED]);
  expect(Object.values(scores).reduce((a, b) => a + b)).toBeCloseTo(1, 6);

  const prompt = model.chatTokens(moderationMessages(subject, POLICY));
  const forced: number[] = [];
  for (const label of Object.keys(scores)) {
    let sum = 0;
    const given = [...prompt];
    for (const id of model.tokenizer.encode(label)) {
      const logits = Array.from(await model.logits(given)); // One position at a time.
      const mass = logits.reduce((total, logit) => total + Math.exp(logit), 0);
      sum += logits[id]! - Math.log(mass);
      given.push(id);
    }
    forced.push(sum);
  }
  const total = forced.reduce((mass, sum) => mass + Math.exp(sum), 0);
  Object.values(scores).forEach((score, index) => {
    expect(Math.abs(Math.log(score) - (forced[index]! - Math.log(total)))).toBeLessThan(1e-5);
  });
  expect(categories).toEqual({
    sad: scores['sad']! >= 0.5,
    'very happy': scores['very happy']! >= 0.001,
  });
  expect(flagged).toBe(Object.values(categories).includes(true));
});

test('a conversation is judged as what was said, the 13 labels by default', async () => {
  const messages: Message[] = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Go away' },
  ];
  const said = await model.moderate('user: Hi\nassistant: Go away', { policy: POLICY });
  expect(await model.moderate(messages, { policy: POLICY })).toEqual(said);
  await expect(model.moderate(messages)).resolves.toMatchObject({ results: [{}] });
  const [{ category_scores }] = (await model.moderate('x')).results;
  expect(Object.keys(category_scores)).toHaveLength(14);
});

test.each([
  [{ policy: [] }, /1 to 64 labels/],
  [{ policy: [{ label: '', definition: 'x' }] }, /policy\[0\]\.label/],
  [{ policy: [{ label: NOT_MODERATED, definition: 'x' }] }, /policy\[0\]\.label/],
  [{ policy: [{ label: 'a', definition: '' }] }, /policy\[0\]\.definition/],
  [{ policy: [{ label: 'a', definition: 'b', threshold: 2 }] }, /policy\[0\]\.threshold/],
  [{ police: [] }, /no option police/],
])('refuses %j', async (options, message) => {
  await expect(model.moderate('x', options as never)).rejects.toThrow(message);
});

test('refuses what is neither a text nor messages', async () => {
  await expect(model.moderate(5 as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
});
