/** moderate(): scores are what the model says of each label, whatever that is worth. */
import { join } from 'node:path';
import { Model, NOT_MODERATED, type Message, type PolicyLabel } from '../../lib';
import { moderationMessages } from '../../lib/model/moderation';
import { DEFAULT_POLICY } from '../../lib/model/moderation-policy';
import { describeWithReference } from '../reference';

const POLICY: readonly PolicyLabel[] = [
  { label: 'sad', definition: 'makes one cry' },
  { label: 'very happy', definition: 'makes one laugh', threshold: 0.001 },
];

let model: Model;

beforeAll(async () => {
  model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
});
afterAll(() => model.dispose());

/** Sums of the log-probabilities of each label's tokens, one position at a time. */
async function forced(
  judge: Model,
  subject: string,
  policy: readonly PolicyLabel[],
  labels: readonly string[],
): Promise<number[]> {
  const prompt = judge.chatTokens(moderationMessages(subject, policy));
  const sums: number[] = [];
  for (const label of labels) {
    let sum = 0;
    const given = [...prompt];
    for (const id of judge.tokenizer.encode(label)) {
      const logits = Array.from(await judge.logits(given));
      const top = Math.max(...logits);
      const mass = logits.reduce((total, logit) => total + Math.exp(logit - top), 0);
      sum += logits[id]! - top - Math.log(mass);
      given.push(id);
    }
    sums.push(sum);
  }
  return sums;
}

function expectForced(scores: Readonly<Record<string, number>>, sums: readonly number[]): void {
  const total = sums.reduce((mass, sum) => mass + Math.exp(sum), 0);
  Object.values(scores).forEach((score, index) => {
    expect(Math.abs(Math.log(score) - (sums[index]! - Math.log(total)))).toBeLessThan(1e-5);
  });
  expect(Math.abs(Object.values(scores).reduce((a, b) => a + b) - 1)).toBeLessThan(1e-6);
}

test('scores sum to 1 and are those of each label forced on the model token by token', async () => {
  const subject = 'The dog was lost.';
  const { results } = await model.moderate(subject, { policy: POLICY });
  const [{ category_scores: scores, flagged, categories }] = results;
  const labels = Object.keys(scores);
  expect(labels).toEqual(['sad', 'very happy', NOT_MODERATED]);
  expectForced(scores, await forced(model, subject, POLICY, labels));
  expect(categories).toEqual({
    sad: scores['sad']! >= 0.5,
    'very happy': scores['very happy']! >= 0.001,
  });
  expect(flagged).toBe(Object.values(categories).includes(true));
});

describeWithReference('a model that was trained to chat', (directory) => {
  test('scores of the 13 labels are those forced on it', async () => {
    const path = join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
    const judge = await Model.load(path);
    try {
      const subject = 'I will hurt you.';
      const { category_scores: scores } = (await judge.moderate(subject)).results[0];
      const labels = Object.keys(scores);
      expect(labels).toHaveLength(14);
      expectForced(scores, await forced(judge, subject, DEFAULT_POLICY, labels));
    } finally {
      await judge.dispose();
    }
  });
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
  for (const message of [{ role: 'user', content: {} }, { role: 'x', content: 'x' }, null]) {
    await expect(model.moderate([message as never])).rejects.toMatchObject({
      code: 'INVALID_MESSAGES',
    });
  }
});
