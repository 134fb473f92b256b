/** Which tokens of samples are learned. */
import { join } from 'node:path';
import {
  loadTokenizer,
  type ChatTemplate,
  type Message,
  type Tokenizer,
  type Tool,
} from '../../lib';
import { encodeLearnedChat, encodeChat } from '../../lib/chat/encode-chat';
import { pack } from '../../lib/train/packing';
import { encodeSample } from '../../lib/train/samples';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(join(__dirname, '../../models/breeze-Q4_0.gguf'));
});

/** The texts of ids that are learned, answer by answer. */
function answers(template: ChatTemplate, messages: readonly Message[], tools: Tool[] = []) {
  const { ids, answers } = encodeLearnedChat(tokenizer, template, { messages, tools });
  return answers.map(({ start, end, index }) => [
    index,
    ids
      .slice(start, end)
      .map((id) => tokenizer.pieceOf(id))
      .join('')
      .replaceAll('▁', ' '),
  ]);
}

const turns: readonly Message[] = [
  { role: 'system', content: 'Be kind.' },
  { role: 'user', content: 'Hello' },
  { role: 'assistant', content: 'A dog' },
  { role: 'user', content: 'More' },
  { role: 'assistant', content: 'A cat' },
];

test.each([
  ['mistral-v1', ' A dog</s>', ' A cat</s>'],
  ['mistral-v2', ' A dog</s>', ' A cat</s>'],
  ['mistral-v3', ' A dog</s>', ' A cat</s>'],
  ['zephyr', 'A dog</s>', 'A cat</s>'],
  ['vicuna', ' A dog</s>', ' A cat</s>'],
  ['alpaca', 'A dog</s>', 'A cat</s>'],
] as const)('%s: answers with what ends them', (template, first, second) => {
  const messages = template === 'mistral-v2' ? turns.slice(1) : turns;
  const offset = turns.length - messages.length;
  expect(answers(template, messages)).toEqual([
    [2 - offset, first],
    [4 - offset, second],
  ]);
});

test('a format whose markers are text here: the end of the turn is learned, the line break is not', () => {
  expect(answers('chatml', turns)).toEqual([
    [2, expect.stringMatching(/^A dog<\|im_end\|>$/)],
    [4, expect.stringMatching(/^A cat<\|im_end\|>$/)],
  ]);
});

test('a template of a file: what each answer adds to the turns before it', () => {
  const jinja =
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}[/INST]" +
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}";
  expect(answers({ jinja }, turns.slice(1))).toEqual([
    [1, ' A dog</s>'],
    [3, ' A cat</s>'],
  ]);
});

test('a template that writes earlier turns otherwise is refused', () => {
  const jinja =
    "{% for m in messages %}{{ loop.length }}{{ m['role'] }}{{ m['content'] }}{% endfor %}";
  expect(() => answers({ jinja }, turns.slice(1))).toThrow(
    /name a format by the option chatTemplate/,
  );
});

test('calls of tools are learned, what tools answer is not', () => {
  const tools = [{ type: 'function', function: { name: 'find', parameters: {} } }] as const;
  const call = { id: 'abcdefghi', function: { name: 'find', arguments: '{"a": 1}' } };
  const found = answers(
    'mistral-v3',
    [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'abcdefghi', content: '5' },
      { role: 'assistant', content: 'It is 5' },
    ],
    [...tools],
  );
  expect(found).toEqual([
    [1, '[TOOL_CALLS] [{"name": "find", "arguments": {"a": 1}, "id": "abcdefghi"}]</s>'],
    [3, ' It is 5</s>'],
  ]);
});

test('a conversation is learned by the ids that it is asked with', () => {
  for (const template of ['mistral-v1', 'mistral-v3', 'zephyr', 'alpaca'] as const) {
    const { ids } = encodeLearnedChat(tokenizer, template, { messages: turns.slice(0, 3) });
    const asked = encodeChat(tokenizer, template, { messages: turns.slice(0, 2) });
    expect(ids.slice(0, asked.length)).toEqual(asked);
  }
});

describe('other samples', () => {
  const encode = (sample: unknown) =>
    encodeSample(sample, {
      tokenizer,
      vocabularySize: 1024,
      encodeConversation: () => ({ ids: [], learned: [] }),
    });
  const bos = () => tokenizer.bosId!;
  const eos = () => tokenizer.eosId!;

  test('a text is learned whole, with its end', () => {
    const { tokens, labels } = encode({ text: 'A dog' });
    expect([...tokens]).toEqual([bos(), ...tokenizer.encode('A dog'), eos()]);
    expect([...labels]).toEqual([...tokens.slice(1), -1]);
  });

  test('of a prompt and its completion the completion is learned', () => {
    const { tokens, labels } = encode({ prompt: 'A dog', completion: ' ran.' });
    const before = 1 + tokenizer.encode('A dog').length;
    expect([...tokens]).toEqual([bos(), ...tokenizer.encode('A dog ran.'), eos()]);
    expect([...labels]).toEqual([
      ...Array.from({ length: before - 1 }, () => -1),
      ...tokens.slice(before),
      -1,
    ]);
  });

  test('where a completion changes the last tokens of the prompt, those are learned too', () => {
    const { tokens, labels } = encode({ prompt: 'A do', completion: 'g' });
    const text = tokenizer.encode('A dog');
    expect([...tokens]).toEqual([bos(), ...text, eos()]);
    expect(labels.filter((label) => label >= 0).length).toBeGreaterThan(1);
  });
});

describe('packing', () => {
  const sample = (length: number, id: number) => ({
    tokens: new Int32Array(length).fill(id),
    labels: new Int32Array(length).fill(id),
  });

  test('samples go into the first sequence with room, and keep their tokens', () => {
    const packed = pack([sample(5, 1), sample(6, 2), sample(4, 3), sample(4, 4)], 10, true);
    expect(packed.map(({ starts }) => [...starts])).toEqual([
      [0, 5],
      [0, 6],
    ]);
    expect([...packed[0]!.tokens]).toEqual([1, 1, 1, 1, 1, 3, 3, 3, 3]);
    expect([...packed[1]!.labels]).toEqual([2, 2, 2, 2, 2, 2, 4, 4, 4, 4]);
  });

  test('without packing each has a sequence of its own', () => {
    expect(pack([sample(2, 1), sample(2, 2)], 10, false)).toHaveLength(2);
  });

  test('many samples are packed in a moment', () => {
    const samples = Array.from({ length: 100_000 }, (_, i) => sample(1 + (i % 97), 1));
    const packed = pack(samples, 512, true);
    const tokens = samples.reduce((sum, one) => sum + one.tokens.length, 0);
    expect(packed.reduce((sum, one) => sum + one.tokens.length, 0)).toBe(tokens);
    expect(packed.length * 512).toBeLessThan(1.01 * tokens + 512);
  });
});
