/** Bodies of every route that takes one, and what becomes of them in other people's hands. */
import type { Random } from '../../lib/bench-serve/random';

const WORDS = 'the dog ran to Lily who saw a big red ball and said let us play in the park'.split(
  ' ',
);
const COLOURS = {
  type: 'object',
  properties: { colour: { enum: ['red', 'blue'] } },
  required: ['colour'],
  additionalProperties: false,
};
const WEATHER = { name: 'weather', description: 'of a place', parameters: COLOURS };

export interface Post {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export function words(random: Random, count: number): string {
  return Array.from({ length: count }, () => random.choose(WORDS)).join(' ');
}

/** One with every field of each route between them, so that mutations reach them all. */
const VALID: readonly ((random: Random) => Post)[] = [
  (random) => ({
    path: '/v1/completions',
    body: {
      model: 'breeze',
      prompt: random.choose<unknown>(['One day', ['A cat', 'The dog'], [5, 6, 7], [[5], [6, 7]]]),
      max_tokens: 2,
      n: 2,
      echo: true,
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.7,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      seed: 7,
      stop: ['\n', 'end'],
      user: 'somebody',
    },
  }),
  () => ({
    path: '/v1/completions',
    body: {
      prompt: 'Lily said',
      max_tokens: 3,
      logprobs: 5,
      frequency_penalty: 1,
      presence_penalty: -1,
      repetition_penalty: 1.1,
      logit_bias: { '5': 1, '6': -100 },
      allowed_token_ids: [300, 301, 302],
      stop_token_ids: [5],
      ignore_eos: true,
      random_seed: 7,
      best_of: 1,
      min_tokens: 0,
      add_special_tokens: true,
    },
  }),
  (random) => ({
    path: '/v1/completions',
    body: {
      prompt: 'A',
      max_tokens: 4,
      ...random.choose<object>([
        { guided_json: COLOURS },
        { guided_regex: '[a-c]{1,3}|x+' },
        { guided_choice: ['yes', 'no'] },
        { guided_grammar: 'root ::= "yes" | digit+\ndigit ::= [0-9]' },
        { response_format: { type: 'json_object' } },
        { response_format: { type: 'json_schema', json_schema: { name: 'c', schema: COLOURS } } },
      ]),
    },
  }),
  (random) => ({
    path: '/v1/chat/completions',
    body: {
      model: 'breeze',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: 'Weather?' }], name: 'a' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'call12345', type: 'function', function: { name: 'weather', arguments: '{}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call12345', content: 'rain' },
        { role: 'user', content: 'And now?' },
      ],
      tools: [{ type: 'function', function: { ...WEATHER, strict: true } }],
      tool_choice: random.choose<unknown>([
        'auto',
        'none',
        'required',
        { type: 'function', function: { name: 'weather' } },
      ]),
      parallel_tool_calls: false,
      max_completion_tokens: 4,
      logprobs: true,
      top_logprobs: 2,
      n: 2,
      stream: random.uniform() < 0.5,
      service_tier: 'auto',
      metadata: { a: 'b' },
    },
  }),
  () => ({
    path: '/v1/chat/completions',
    body: {
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'The', prefix: true },
      ],
      max_tokens: 3,
      response_format: { type: 'json_schema', json_schema: { name: 'c', schema: COLOURS } },
      safe_prompt: true,
    },
  }),
  (random) => ({
    path: '/v1/responses',
    body: {
      model: 'breeze',
      instructions: 'Be brief.',
      input: random.choose<unknown>([
        'Hello',
        [
          { role: 'user', content: [{ type: 'input_text', text: 'Weather?' }] },
          { type: 'function_call', call_id: 'call12345', name: 'weather', arguments: '{}' },
          { type: 'function_call_output', call_id: 'call12345', output: 'rain' },
        ],
      ]),
      tools: [{ type: 'function', ...WEATHER, strict: true }],
      tool_choice: 'auto',
      text: { format: { type: 'json_schema', name: 'c', schema: COLOURS } },
      include: ['message.output_text.logprobs'],
      top_logprobs: 2,
      max_output_tokens: 3,
      metadata: { a: 'b' },
      store: false,
      stream: random.uniform() < 0.5,
    },
  }),
  (random) => ({
    path: '/v1/messages',
    body: {
      model: 'breeze',
      max_tokens: 3,
      system: [{ type: 'text', text: 'Be brief.' }],
      messages: [
        { role: 'user', content: 'Weather?' },
        {
          role: 'assistant',
          content: [{ type: 'tool_use', id: 'toolu_123', name: 'weather', input: {} }],
        },
        {
          role: 'user',
          content: [{ type: 'tool_result', tool_use_id: 'toolu_123', content: 'rain' }],
        },
      ],
      tools: [{ name: 'weather', input_schema: COLOURS }],
      tool_choice: { type: random.choose(['auto', 'any', 'none']) },
      stop_sequences: ['end'],
      stream: random.uniform() < 0.5,
    },
  }),
  () => ({
    path: '/v1/messages/count_tokens',
    body: { model: 'breeze', messages: [{ role: 'user', content: 'How many?' }], system: 'So.' },
  }),
  () => ({
    path: '/v1/fim/completions',
    body: { prompt: 'def f(', suffix: 'return a', max_tokens: 3, stream: true },
  }),
  () => ({ path: '/v1/moderations', body: { input: ['One day', { type: 'text', text: 'A' }] } }),
  () => ({
    path: '/v1/chat/moderations',
    body: { input: [[{ role: 'user', content: 'Hi' }]] },
  }),
  () => ({ path: '/v1/embeddings', body: { model: 'breeze', input: 'Hello' } }),
  () => ({ path: '/tokenize', body: { prompt: 'One day', add_special_tokens: false } }),
  () => ({ path: '/tokenize', body: { messages: [{ role: 'user', content: 'Hi' }], tools: [] } }),
  () => ({ path: '/detokenize', body: { tokens: [5, 6, 7] } }),
];

export function validPost(random: Random): Post {
  return random.choose(VALID)(random);
}

const ODD: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  -0,
  2 ** 31,
  2 ** 53,
  Number.MIN_VALUE,
  '',
  ' ',
  '\0',
  '\ud800',
  '\u{1f600}',
  '[INST]</s><s>',
  'a'.repeat(2000),
  '$ref',
  '__proto__',
  'constructor',
  '(',
  '((((a*)*)*)*)*',
  '{"a":',
  'root ::= root',
  'root ::= "a" root | ',
  [],
  {},
  [[]],
  [null],
  [0, -1, 1e9],
  Array.from({ length: 300 }, () => 'x'),
  { $ref: '#' },
  { type: 'object', properties: { a: { $ref: '#' } } },
  { anyOf: [] },
  { type: 'string', pattern: '^(a|b)*$', minLength: 3, maxLength: 2 },
  { type: 'integer', minimum: 5, maximum: 4 },
  { length: 5 },
  { toString: 1, valueOf: null },
];

const NAMES = [
  'model', 'prompt', 'messages', 'input', 'n', 'stream', 'role', 'content', 'type', 'tools', 'text',
  'max_tokens', 'stop', 'guided_json', 'guided_regex', 'guided_grammar', 'guided_choice', 'logprobs',
  'response_format', 'logit_bias', 'toString', 'constructor', 'hasOwnProperty', '__proto__', '',
]; // prettier-ignore

type Tree = unknown[] | Record<string, unknown>;

/** Every array and object of a tree, itself first. */
function branches(tree: Tree): Tree[] {
  const found = [tree];
  for (let at = 0; at < found.length; ++at) {
    for (const value of Object.values(found[at]!)) {
      if (typeof value === 'object' && value !== null) found.push(value as Tree);
    }
  }
  return found;
}

/** A key of its own whatever its name, where an assignment to `__proto__` would set the prototype. */
function put(branch: Tree, key: string, value: unknown): void {
  Object.defineProperty(branch, key, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

/** Changes one place of a tree. */
function mutate(tree: Tree, random: Random): void {
  const all = branches(tree);
  const branch = random.choose(all);
  const keys = Object.keys(branch);
  const key = keys.length > 0 ? random.choose(keys) : '0';
  const kind = Math.floor(random.uniform() * 7);
  if (kind === 0) Reflect.deleteProperty(branch, key);
  else if (kind === 1 && !Array.isArray(branch)) {
    put(branch, random.choose(NAMES), structuredClone(random.choose(ODD)));
  } else if (kind === 2) {
    // What stands elsewhere in the body.
    put(branch, key, structuredClone(random.choose(all)));
  } else if (kind === 3) {
    let deep: unknown = (branch as Record<string, unknown>)[key];
    const depth = random.choose([1, 3, 50, 300]);
    for (let i = 0; i < depth; ++i) deep = random.uniform() < 0.5 ? [deep] : { a: deep };
    put(branch, key, deep);
  } else if (kind === 4 && Array.isArray(branch) && branch.length > 0) {
    const item: unknown = branch[0];
    const count = random.choose([1, 10, 200]);
    for (let i = 0; i < count; ++i) branch.push(structuredClone(item));
  } else put(branch, key, structuredClone(random.choose(ODD)));
}

/** Changes bytes of a text. */
function mutateText(text: string, random: Random): string {
  const at = Math.floor(random.uniform() * (text.length + 1));
  const length = Math.floor(random.uniform() * random.choose([1, 4, 40]));
  const rest = text.slice(at + length);
  switch (Math.floor(random.uniform() * 6)) {
    case 5:
      return text.slice(0, at) + random.choose(['[', '{"a":']).repeat(20_000) + rest;
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + rest;
    case 2:
      return text.slice(0, at) + text.slice(at, at + length).repeat(3) + rest;
    case 3:
      return (
        text.slice(0, at) +
        random.choose([
          '"',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '\\',
          '\\u',
          '\0',
          '\u00e9',
          '1e999',
          '-',
        ]) +
        rest
      );
    default:
      return text.slice(0, at) + String.fromCharCode(random.uniform() * 65536) + rest;
  }
}

/** A body as it goes out: of a valid one, changed at up to three places and in its text. */
export function fuzzedPost(random: Random): { readonly path: string; readonly payload: string } {
  const { path, body } = validPost(random);
  const tree = structuredClone(body) as Record<string, unknown>;
  const places = random.choose([0, 1, 1, 1, 2, 3]);
  for (let i = 0; i < places; ++i) mutate(tree, random);
  let payload = JSON.stringify(tree);
  if (random.uniform() < 0.15) payload = mutateText(payload, random);
  return { path: random.uniform() < 0.02 ? validPost(random).path : path, payload };
}
