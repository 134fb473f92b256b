/** What is wrong with data is said before anything starts: which line, and why. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type TrainingSample, type TrainOptions } from '../../lib';
import { Random } from '../grammar/random';

const MODEL = join(__dirname, '../../models/breeze-Q4_0.gguf');
const story = (animal: string) => ({
  messages: [
    { role: 'user', content: `Tell me a story about a ${animal}.` },
    { role: 'assistant', content: 'Once upon a time.' },
  ],
});
const good = JSON.stringify(story('dog'));

let model: Model;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tramontane-dataset-'));
  model = await Model.load(MODEL);
});
afterAll(async () => {
  await model.dispose();
  await rm(directory, { recursive: true });
});

/** The message of the error that a file of these lines makes; nothing is trained or written. */
async function problem(
  lines: readonly string[] | string | Buffer,
  options: Partial<TrainOptions> = {},
): Promise<string> {
  const path = join(directory, 'data.jsonl');
  await writeFile(path, Array.isArray(lines) ? lines.join('\n') : (lines as string | Buffer));
  const output = join(directory, 'output');
  const steps: unknown[] = [];
  const training = model.train(path, { output, onStep: (step) => steps.push(step), ...options });
  const error = await training.then(
    () => ({ code: 'none', message: '' }),
    (error: unknown) => error as { code: string; message: string },
  );
  expect(error.code).toBe('INVALID_FILE');
  expect(error.message.startsWith(`${path}: `)).toBe(true);
  expect(steps).toHaveLength(0);
  expect(existsSync(output)).toBe(false);
  return error.message.slice(path.length + 2);
}

test.each([
  ['nothing', '', 'there are no samples in it'],
  ['blank lines', '\n  \n\n', 'there are no samples in it'],
  ['an array', '[1]', /^line 1: a sample must be an object with messages/],
  [
    'no known field',
    '{"content": "a"}',
    /^line 1: a sample must have messages .*, but has content$/,
  ],
  ['a field too many', '{"text": "a", "label": 1}', /has label,text$/],
  ['text that is no string', '{"text": 5}', /^line 1: text must be a string/],
  ['tokens that are none', '{"tokens": [1, 5000]}', /^line 1: token 5000 is not in the vocabulary/],
  [
    'one role',
    '{"messages": [{"role": "user", "content": "a"}]}',
    /assistant message must be the last/,
  ],
  [
    'an assistant alone',
    '{"messages": [{"role": "assistant", "content": "a"}]}',
    /must start with a user or system message/,
  ],
  ['an unknown role', '{"messages": [{"role": "cat", "content": "a"}]}', /the role must be/],
  [
    'no token that is learned',
    '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}',
    'line 1: no token of it is learned',
  ],
  [
    'a weight that is none',
    '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0.5}]}',
    /messages\[1\]: weight must be 0 or 1/,
  ],
  ['one token', '{"tokens": [1]}', 'line 1: no token of it is learned'],
  ['no JSON', '{"text": "a"', /^line 1: not JSON/],
])('a line with %s', async (_, text, expected) => {
  const found = await problem(text);
  if (typeof expected === 'string') expect(found).toBe(expected);
  else expect(found).toMatch(expected);
});

test('a line that is not UTF-8', async () => {
  expect(await problem(Buffer.from('{"text": "a\xff"}', 'latin1'))).toMatch(/^line 1: not UTF-8/);
});

test('wrong JSON at line 7 is named by its line, blank lines counted', async () => {
  expect(await problem([good, good, '', good, good, good, '{"messages": ['])).toMatch(
    /^line 7: not JSON/,
  );
});

test('a line of 10 MB is refused without being parsed, and what follows is read', async () => {
  const long = JSON.stringify({ text: 'a'.repeat(10_000_000) });
  expect(await problem([good, long, '{'])).toMatch(
    /^line 2: longer than the 4000000 bytes that a sample may have; line 3: not JSON/,
  );
});

test('a sample longer than the context is refused, and one longer than sequenceLength', async () => {
  const { contextSize } = model.info;
  const long = JSON.stringify({ text: 'a dog and '.repeat(contextSize) });
  expect(await problem([good, long])).toMatch(
    new RegExp(`^line 2: it has \\d+ tokens, more than the ${contextSize} of the model's context$`),
  );
  expect(await problem([good], { sequenceLength: 8 })).toMatch(
    /^line 1: it has \d+ tokens, more than the 8 of sequenceLength$/,
  );
});

test('many problems are listed as far as they help, and counted', async () => {
  const found = await problem(Array.from({ length: 9 }, () => '{}'));
  expect(found.match(/line \d:/g)).toEqual(['line 1:', 'line 2:', 'line 3:', 'line 4:', 'line 5:']);
  expect(found).toMatch(/; and 4 more$/);
});

test('deep JSON is refused by its depth', async () => {
  expect(await problem(`{"messages": ${'['.repeat(5000)}${']'.repeat(5000)}}`)).toMatch(
    /^line 1: 65 levels of JSON/,
  );
});

test('samples that are handed over are named by their place', async () => {
  const samples = [story('dog'), { text: 5 }] as unknown as TrainingSample[];
  await expect(model.train(samples, { output: 'nowhere' })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: 'dataset[1]: text must be a string',
  });
});

test('an evaluation that leaves nothing to train on is refused', async () => {
  const samples = [story('dog')] as unknown as TrainingSample[];
  await expect(model.train(samples, { output: 'nowhere', evaluation: 0.5 })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  });
});

test.each([
  [{ rank: 0 }, /^rank must be an integer from 1/],
  [{ targets: ['lm_head'] }, /^one of targets must be q_proj/],
  [{ targets: [] }, /^targets must be/],
  [{ dropout: 1 }, /^dropout must be below 1/],
  [{ steps: 5, epochs: 5 }, /^steps and epochs/],
  [{ schedule: 'step' }, /^schedule must be cosine or linear or constant/],
  [{ learningRat: 1 }, /train\(\) has no option learningRat/],
  [{ output: '' }, /^output must be a path/],
  [{ sequenceLength: 1e6 }, /^sequenceLength must be an integer from 2 to/],
])('%j is refused', async (options, message) => {
  const training = model.train([], { output: 'nowhere', ...options } as TrainOptions);
  await expect(training).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringMatching(message) as unknown,
  });
});

/** A line of a sample some of whose values, or bytes, are others. */
function mutated(random: Random): string {
  const odd = [
    null,
    0,
    -1.5,
    true,
    '',
    '\ud800',
    '[INST]',
    [],
    {},
    [[]],
    { role: {} },
    'assistant',
  ];
  const sample = random.pick<unknown>([
    story('dog'),
    { prompt: 'A dog', completion: ' ran.' },
    { text: 'A dog ran.' },
    {
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Call f.' }] },
        {
          role: 'assistant',
          tool_calls: [{ id: 'abcdefghi', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'abcdefghi', content: '1' },
        { role: 'assistant', content: 'Done.', weight: 0 },
      ],
    },
  ]);
  const line = JSON.stringify(sample, (_, value: unknown) =>
    random.below(10) === 0 ? structuredClone(random.pick<unknown>(odd)) : value,
  );
  if (random.below(10) < 7) return line;
  const bytes = Buffer.from(line);
  for (let i = 0; i < 3 && bytes.length > 0; ++i) {
    bytes[random.below(bytes.length)] = random.below(256);
  }
  return bytes.toString('latin1').replaceAll('\n', ' ');
}

test('of whatever lines, what is wrong is a problem of its line', async () => {
  const random = new Random(3);
  const lines = Array.from({ length: 3000 }, () => mutated(random));
  expect(await problem(['[1]', ...lines])).toMatch(/^line 1: a sample must be an object/);
});
