/** Right, wrong and half-right conversations, and templates of files. */
import { type ChatTemplate, encodeChat, TEMPLATE_NAMES } from '../../lib/chat/encode-chat';
import { TramontaneError } from '../../lib/errors';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { randomSchema } from '../grammar/fuzz-schemas';
import type { Random } from '../grammar/random';

const ROLES = [
  'system',
  'developer',
  'user',
  'assistant',
  'tool',
  'User',
  '',
  '__proto__',
  'constructor',
];
const TEXTS = [
  'a',
  ' ',
  '',
  '\n',
  '[INST]',
  '[/INST]',
  '</s>',
  '<s>',
  '<|im_start|>',
  '<|im_end|>',
  '[TOOL_CALLS]',
  '<|user|>',
  'GPT4 Correct User:',
  '### Instruction:',
  'é',
  '😀',
  '\u0000',
  '\uffff',
  '{"a": 1}',
  '[',
  '"',
  '\\',
  '1e999',
  '\u{f0000}',
  '\u{f0001}',
];
const NAMES = ['f', 'g', 'f-1', 'f', 'g', 'h', '__proto__', 'a b', '', 'x'.repeat(65), 'é'];
const IDS = ['abcdefgh1', 'ABCDEFGH2', 'short', '', 'call_0123456789'];
/** What JSON does not have, or what is no text. */
const ODD = [undefined, null, 0, 1.5, true, {}, [], 1n, Symbol('s'), () => 1, new Map()];

function text(random: Random): string {
  let result = '';
  for (let i = random.below(1 + random.below(12)); i > 0; i--) result += random.pick(TEXTS);
  if (random.below(100) === 0) result += random.pick(['\ud800', '\udc00', '\udc00\ud800']);
  return random.below(200) === 0 ? result.repeat(random.below(2000)) : result;
}

function oddly(random: Random, value: unknown): unknown {
  return random.below(300) === 0 ? random.pick<unknown>(ODD) : value;
}

function content(random: Random): unknown {
  if (random.below(3) > 0) return oddly(random, text(random));
  const parts = Array.from({ length: random.below(4) }, () => ({
    type: oddly(random, random.pick(['text', 'untrusted'])),
    text: oddly(random, text(random)),
  }));
  return oddly(random, parts);
}

function call(random: Random): unknown {
  const values: unknown[] = [text(random), '{}', '{"x": [1, "y"]}', { x: text(random) }, {}, 1];
  return {
    ...(random.below(4) > 0 && { id: oddly(random, random.pick(IDS)) }),
    type: 'function',
    function: oddly(random, {
      name: oddly(random, random.pick(NAMES)),
      arguments: oddly(random, random.pick(values)),
    }),
  };
}

function message(random: Random, place: number): unknown {
  // Mostly in turn, so that much gets past the rules of who speaks when.
  const inTurn = random.pick(['user', 'assistant', 'user', 'tool', 'system']);
  const turn = random.below(8) > 0 ? (place % 2 === 0 ? 'user' : 'assistant') : inTurn;
  const role = random.below(300) === 0 ? random.pick<unknown>([...ROLES, ...ODD]) : turn;
  return oddly(random, {
    role,
    content: content(random),
    ...(role === 'assistant' && random.below(4) === 0
      ? {
          tool_calls: oddly(
            random,
            Array.from({ length: random.below(3) }, () => call(random)),
          ),
        }
      : {}),
    ...(role === 'tool'
      ? { tool_call_id: oddly(random, random.pick(IDS)), name: random.pick(NAMES) }
      : {}),
    ...(random.below(50) === 0 ? { prefix: oddly(random, true) } : {}),
  });
}

function request(random: Random): unknown {
  const messages = Array.from({ length: 1 + 2 * random.below(4) }, (_, i) => message(random, i));
  const tools = Array.from({ length: random.below(3) }, () => ({
    type: 'function',
    function: oddly(random, {
      name: oddly(random, random.pick(NAMES)),
      description: oddly(random, text(random)),
      parameters: oddly(random, randomSchema(random, 3)),
    }),
  }));
  return oddly(random, {
    messages: oddly(random, messages),
    ...(random.below(8) === 0 && { tools: oddly(random, tools) }),
    ...(random.below(20) === 0 && { continue_final_message: oddly(random, true) }),
  });
}

/** @throws what is no TramontaneError */
function encode(random: Random, tokenizer: Tokenizer, template: ChatTemplate, asked: unknown) {
  const mode = random.pick(['test', 'serving', 'finetuning', 'agnostic'] as const);
  try {
    encodeChat(tokenizer, template, asked as Parameters<typeof encodeChat>[2], { mode });
  } catch (error) {
    if (error instanceof TramontaneError) return 'refused';
    throw error;
  }
  return 'taken';
}

export function fuzzMessages(
  random: Random,
  tokenizers: readonly Tokenizer[],
): 'taken' | 'refused' {
  return encode(random, random.pick(tokenizers), random.pick(TEMPLATE_NAMES), request(random));
}

const JINJA_PARTS = [
  '{{',
  '}}',
  '{%',
  '%}',
  '{#',
  '#}',
  '{%-',
  '-%}',
  '{{ bos_token }}',
  '{{ m.content }}',
  "{{ '[INST]' ~ m.role }}",
  '{% for m in messages %}',
  '{% endfor %}',
  '{% if tools %}',
  '{% else %}',
  '{% elif m.role == "user" %}',
  '{% endif %}',
  '{% set x = m %}',
  '{% set ns = namespace(a=1, x="x") %}',
  '{% set ns.x = ns.x ~ ns.x %}',
  '{% macro f(a, b=1) %}',
  '{% endmacro %}',
  '{{ f(f) }}',
  '{{ f(1) }}',
  '{{ loop.index }}',
  '{{ messages | tojson }}',
  '{{ tools | tojson(indent=4) }}',
  "{{ raise_exception('no') }}",
  '{{ range(3) | join }}',
  '{{ range(0, 5000) | list }}',
  '{% for i in range(3000) %}',
  '{% set l = l + l %}',
  '{% set l = [1, 2] %}',
  '{{ messages[0].content[1:] }}',
  '{{ messages[-1] }}',
  '{{ x.y.z }}',
  '{{ x is defined }}',
  '{{ "a" * 3 }}',
  '{{ 1 / 0 }}',
  '{{ 1 % 0 }}',
  '{{ -"a" }}',
  '{% break %}',
  '{% continue %}',
  '{{ "x" | upper | trim | length }}',
  '{{ m | items }}',
  '{{ m | dictsort }}',
  '{{ "a,b".split(",") }}',
  '{{ m.keys() }}',
  '{{ "%s" | format(1) }}',
  "{{ strftime_now('%Y') }}",
  '{% call f() %}',
  '{% endcall %}',
  '{% filter upper %}',
  '{% endfilter %}',
  '{{ "a" | indent(4) }}',
  '{{ "aaa" | replace("", "b") }}',
  '{{ x if y else z }}',
  '{{ (',
  ') }}',
  '[',
  ']',
  '"',
  "'",
  '\\',
  '\n',
  ' ',
  'text',
  '[INST]',
  '</s>',
  '\ud800',
  '😀',
  '{{ __proto__ }}',
  '{{ constructor.constructor("return process")() }}',
  '{{ m.constructor }}',
  '{{ [].constructor }}',
];

export function fuzzTemplate(
  random: Random,
  tokenizers: readonly Tokenizer[],
): 'taken' | 'refused' {
  let jinja = random.below(2) === 0 ? '' : '{% for m in messages %}';
  const closes = jinja !== '';
  for (let i = random.below(1 + random.below(20)); i >= 0; i--) jinja += random.pick(JINJA_PARTS);
  if (closes) jinja += '{% endfor %}';
  if (random.below(1000) === 0) jinja = random.pick(JINJA_PARTS).repeat(random.below(20_000));
  const asked = random.below(4) === 0 ? request(random) : CONVERSATION;
  return encode(random, random.pick(tokenizers), { jinja }, asked);
}

const CONVERSATION = {
  messages: [
    { role: 'system', content: 'S' },
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hi' },
    { role: 'user', content: 'What?' },
  ],
};
