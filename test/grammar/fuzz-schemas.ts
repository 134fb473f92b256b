/** Right, wrong and half-right JSON schemas. */
import { GrammarError } from '../../lib/errors';
import { schemaRules } from '../../lib/grammar/json-schema/schema-rules';
import { buildNetwork } from '../../lib/grammar/network';
import type { Random } from './random';

const NUMBERS = [
  0,
  1,
  2,
  3,
  7,
  -1,
  0.1,
  -0,
  1.5,
  10,
  100,
  1e5,
  1e9,
  1e21,
  1e308,
  5e-324,
  2 ** 53,
  NaN,
  Infinity,
];
const NAMES = [
  'a',
  'b',
  'ab',
  '',
  '1',
  '__proto__',
  'constructor',
  'é',
  '😀',
  '\ud800',
  '"',
  '\\',
  '/',
  '~',
  '\n',
];
const PATTERNS = [
  '^a',
  'a$',
  '^(a|b)*$',
  '[a-z]+',
  '.',
  '',
  '^x-',
  '\\d{3}',
  '(a?){20}',
  '[^"]',
  '^.{0,400}$',
  '(',
  '(?=a)',
  '\\p{L}+',
  'é|😀',
  '(a|aa)+b',
  '.*a.{8}',
];
const FORMATS = [
  'date',
  'time',
  'date-time',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uuid',
  'uri',
  'uri-reference',
  'json-pointer',
  'regex',
  'iri',
  'x',
];
const TYPES = ['string', 'number', 'integer', 'boolean', 'null', 'object', 'array', 'any', ''];
const REFERENCES = [
  '#',
  '#/$defs/a',
  '#/$defs/b',
  '#/definitions/a',
  '#/properties/a',
  '#/$defs/a/items',
  '#a',
  'http://x/y',
  '#/%',
  '#/~2',
  '',
  '#/allOf/0',
];

type Make = (random: Random, depth: number) => unknown;

const schemas: Make = (random, depth) =>
  Array.from({ length: random.below(4) }, () => randomSchema(random, depth - 1));
const inner: Make = (random, depth) => randomSchema(random, depth - 1);
const members: Make = (random, depth) =>
  Object.fromEntries(
    Array.from({ length: random.below(5) }, () => [random.pick(NAMES), inner(random, depth)]),
  );
const byPattern: Make = (random, depth) =>
  Object.fromEntries(
    Array.from({ length: random.below(4) }, () => [random.pick(PATTERNS), inner(random, depth)]),
  );
const number: Make = (random) => random.pick(NUMBERS);
const count: Make = (random) => random.pick([0, 1, 2, 3, 5, 20, 1000, 1e6, 1e12, -1, 0.5]);
const flag: Make = (random) => random.below(2) === 0;
const names: Make = (random) => Array.from({ length: random.below(4) }, () => random.pick(NAMES));
const values: Make = (random, depth) =>
  Array.from({ length: random.below(6) }, () => randomValue(random, depth - 1));

const KEYWORDS: readonly (readonly [string, Make])[] = [
  [
    'type',
    (random) =>
      random.below(3) === 0 ? [random.pick(TYPES), random.pick(TYPES)] : random.pick(TYPES),
  ],
  ['type', (random) => random.pick(TYPES)],
  ['enum', values],
  ['const', (random, depth) => randomValue(random, depth)],
  ['properties', members],
  ['properties', members],
  ['required', names],
  ['additionalProperties', inner],
  ['patternProperties', byPattern],
  ['propertyNames', inner],
  ['unevaluatedProperties', inner],
  ['minProperties', count],
  ['maxProperties', count],
  ['dependentRequired', (random) => ({ [random.pick(NAMES)]: names(random, 0) })],
  ['dependentSchemas', members],
  ['dependencies', members],
  [
    'items',
    (random, depth) => (random.below(4) === 0 ? schemas(random, depth) : inner(random, depth)),
  ],
  ['prefixItems', schemas],
  ['additionalItems', inner],
  ['minItems', count],
  ['maxItems', count],
  ['uniqueItems', flag],
  ['contains', inner],
  ['minContains', count],
  ['minLength', count],
  ['maxLength', count],
  ['pattern', (random) => random.pick(PATTERNS)],
  ['format', (random) => random.pick(FORMATS)],
  ['minimum', number],
  ['maximum', number],
  ['exclusiveMinimum', number],
  ['exclusiveMaximum', number],
  ['multipleOf', number],
  ['allOf', schemas],
  ['anyOf', schemas],
  ['oneOf', schemas],
  ['not', inner],
  ['if', inner],
  ['then', inner],
  ['else', inner],
  ['$ref', (random) => random.pick(REFERENCES)],
  ['$defs', members],
  ['definitions', members],
  ['$id', (random) => random.pick(REFERENCES)],
  ['$anchor', () => 'a'],
  ['$schema', () => 'https://json-schema.org/draft/2020-12/schema'],
  ['title', () => 'x'],
  ['nonsense', (random, depth) => randomValue(random, depth)],
];

function randomValue(random: Random, depth: number): unknown {
  switch (depth <= 0 ? random.below(6) : random.below(9)) {
    case 0:
      return null;
    case 1:
      return random.below(2) === 0;
    case 2:
      return random.pick(NUMBERS);
    case 3:
      return random.pick(NAMES);
    case 4:
      return random.pick(TYPES);
    case 5:
      // What JSON does not have.
      return random.below(10) > 0
        ? 1
        : random.pick<unknown>([undefined, 1n, Symbol('s'), new Date(0), new Map(), /x/, () => 1]);
    case 6:
      return Array.from({ length: random.below(4) }, () => randomValue(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [
          random.pick(NAMES),
          randomValue(random, depth - 1),
        ]),
      );
  }
}

export function randomSchema(random: Random, depth: number): unknown {
  if (depth <= 0 || random.below(20) === 0) {
    return random.pick<unknown>([true, false, {}, { type: 'string' }, { type: 'integer' }, null]);
  }
  const schema: Record<string, unknown> = {};
  for (let i = random.below(1 + random.below(7)); i >= 0; i--) {
    const [keyword, make] = random.pick(KEYWORDS);
    schema[keyword] = random.below(40) === 0 ? randomValue(random, 2) : make(random, depth);
  }
  return schema;
}

/** @throws what is no GrammarError */
export function fuzzSchema(random: Random): 'taken' | 'refused' {
  let schema = randomSchema(random, 1 + random.below(5));
  // Deeper than any reader's stack, or in itself.
  const odd = random.below(1000);
  if (odd < 2) {
    for (let i = random.below(20_000); i > 0; i--) {
      schema = { [random.pick(['items', 'not'])]: schema };
    }
  } else if (odd < 4 && typeof schema === 'object' && schema !== null) {
    Object.assign(schema, { items: schema });
  }
  try {
    buildNetwork(
      schemaRules(schema, {
        openObjects: random.below(2) === 0,
        pretty: random.below(4) === 0,
        oneOf: random.pick(['exact', 'any']),
      }),
    );
  } catch (error) {
    if (error instanceof GrammarError) return 'refused';
    throw error;
  }
  return 'taken';
}
