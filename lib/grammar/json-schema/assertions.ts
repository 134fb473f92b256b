import { accepts } from '../automaton';
import type { Automaton } from '../expression';
import { ANY_ARRAY } from './arrays';
import { ANYTHING, NOTHING_AT_ALL } from './combine';
import { decimal } from './decimal';
import type { Document } from './document';
import {
  Refusal,
  type ArraySet,
  type Bound,
  type Form,
  type Node,
  type NumberSet,
  type ObjectSet,
  type StringSet,
  type Union,
} from './form';
import { formatAutomaton } from './formats';
import { isList, isObject, type Json, type JsonObject } from './json';
import { NONE, type Nodes } from './nodes';
import { ANY_NUMBER, intersectNumbers } from './numbers';
import { ANY_OBJECT, withClass } from './objects';
import type { Patterns } from './patterns';
import { ANY_STRING, both, intersectStrings, stringAutomaton } from './strings';

/** What reading a schema's own keywords needs. */
export interface Context {
  readonly document: Document;
  readonly nodes: Nodes;
  readonly patterns: Patterns;
  readonly form: (node: Node) => Form;
}

const NUMBER_WORDS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'];
const STRING_WORDS = ['minLength', 'maxLength', 'pattern', 'format'];
const OBJECT_WORDS = [
  'properties',
  'required',
  'additionalProperties',
  'patternProperties',
  'propertyNames',
  'minProperties',
  'maxProperties',
];
const ARRAY_WORDS = [
  'prefixItems',
  'items',
  'additionalItems',
  'minItems',
  'maxItems',
  'contains',
  'minContains',
  'maxContains',
  'uniqueItems',
];

/** The keywords that speak of one type each. */
export const ASSERTIONS: ReadonlySet<string> = new Set([
  'type',
  ...NUMBER_WORDS,
  ...STRING_WORDS,
  ...OBJECT_WORDS,
  ...ARRAY_WORDS,
]);

/** What a schema's own keywords say of each type. */
export function assertedForm(context: Context, schema: JsonObject): Form {
  const types = readTypes(context, schema);
  const has = (words: readonly string[]): boolean => words.some((word) => schema.has(word));
  const numbers = has(NUMBER_WORDS) ? readNumbers(context, schema) : ANYTHING.numbers;
  return {
    null: types.has('null'),
    true: types.has('boolean'),
    false: types.has('boolean'),
    numbers: types.has('number') ? numbers : types.has('integer') ? integers(numbers) : [],
    strings: !types.has('string')
      ? []
      : has(STRING_WORDS)
        ? readStrings(context, schema)
        : ANYTHING.strings,
    objects: !types.has('object')
      ? []
      : has(OBJECT_WORDS)
        ? [readObjects(context, schema)]
        : ANYTHING.objects,
    arrays: !types.has('array')
      ? []
      : has(ARRAY_WORDS)
        ? readArrays(context, schema)
        : ANYTHING.arrays,
  };
}

/** One value, as `const` and `enum` have it. */
export function formOfValue(nodes: Nodes, value: Json): Form {
  if (value === null) return { ...NOTHING_AT_ALL, null: true };
  if (typeof value === 'boolean') return { ...NOTHING_AT_ALL, true: value, false: !value };
  if (typeof value === 'number') return { ...NOTHING_AT_ALL, numbers: [{ values: [value] }] };
  if (typeof value === 'string')
    return { ...NOTHING_AT_ALL, strings: [{ values: new Set([value]) }] };
  if (isList(value)) {
    const prefix = value.map((item) => nodes.value(item));
    const array: ArraySet = {
      ...ANY_ARRAY,
      prefix,
      rest: NONE,
      least: value.length,
      most: value.length,
    };
    return { ...NOTHING_AT_ALL, arrays: [array] };
  }
  const object: ObjectSet = {
    ...ANY_OBJECT,
    named: new Map([...value].map(([key, item]) => [key, nodes.value(item)])),
    required: new Set(value.keys()),
    rest: NONE,
    restIsImplicit: false,
  };
  return { ...NOTHING_AT_ALL, objects: [object] };
}

const TYPES = ['null', 'boolean', 'number', 'integer', 'string', 'object', 'array'];

function readTypes({ document }: Context, schema: JsonObject): ReadonlySet<string> {
  const type = schema.get('type');
  if (type === undefined) return new Set(TYPES);
  const names = isList(type) ? type : [type];
  for (const name of names) {
    if (!TYPES.includes(name as string)) {
      throw document.error(
        schema,
        'type',
        `There is no type ${JSON.stringify(name).slice(0, 100)}.`,
      );
    }
  }
  return new Set(names as string[]);
}

function integers(numbers: Union<NumberSet>): Union<NumberSet> {
  if (numbers instanceof Refusal) return numbers;
  return numbers.map((set) => (set.values === undefined ? { ...set, kind: 'integer' } : set));
}

function readNumbers(context: Context, schema: JsonObject): NumberSet[] {
  const bound = (
    plain: 'minimum' | 'maximum',
    strict: 'exclusiveMinimum' | 'exclusiveMaximum',
    side: 1 | -1,
  ): Bound | undefined => {
    const value = numberAt(context, schema, plain);
    // In draft 4 the exclusive ones are booleans.
    const other = schema.get(strict);
    if (typeof other === 'boolean')
      return value === undefined ? undefined : { value: decimal(value), exclusive: other };
    const exclusive = numberAt(context, schema, strict);
    if (exclusive === undefined)
      return value === undefined ? undefined : { value: decimal(value), exclusive: false };
    const strictWins = value === undefined || (exclusive - value) * side >= 0;
    return { value: decimal(strictWins ? exclusive : value), exclusive: strictWins };
  };
  const multipleOf = numberAt(context, schema, 'multipleOf');
  if (multipleOf !== undefined && multipleOf <= 0)
    throw context.document.error(schema, 'multipleOf', 'It must be above 0.');
  return one(
    intersectNumbers(ANY_NUMBER, {
      kind: 'any',
      least: bound('minimum', 'exclusiveMinimum', 1),
      most: bound('maximum', 'exclusiveMaximum', -1),
      multipleOf: multipleOf === undefined ? undefined : decimal(multipleOf),
    }),
  );
}

function one<Set>(set: Set | undefined): Set[] {
  return set === undefined ? [] : [set];
}

function readStrings(context: Context, schema: JsonObject): Union<StringSet> {
  const pattern = schema.get('pattern');
  const format = schema.get('format');
  let automaton: Automaton | undefined;
  if (pattern !== undefined) automaton = context.patterns.read(schema, 'pattern', pattern);
  if (typeof format === 'string') {
    const known = formatAutomaton(context.document, schema, format);
    context.nodes.spendOn(known, automaton);
    automaton = both(automaton, known);
  }
  const [least, most] = countsAt(context, schema, 'minLength', 'maxLength');
  return one(intersectStrings(ANY_STRING, { automaton, least, most }));
}

function readObjects(context: Context, schema: JsonObject): ObjectSet {
  const { document, nodes, patterns } = context;
  const properties = mapAt(context, schema, 'properties');
  const additional = schema.get('additionalProperties');
  const patternProperties = mapAt(context, schema, 'patternProperties');
  const [least, most] = countsAt(context, schema, 'minProperties', 'maxProperties');
  let classes: ObjectSet['classes'] = [];
  for (const [source, item] of patternProperties ?? []) {
    const keys = patterns.read(schema, 'patternProperties', source);
    classes = withClass(nodes, classes, {
      keys,
      node: schemaAt(context, schema, 'patternProperties', item),
    });
  }
  let set: ObjectSet = {
    ...ANY_OBJECT,
    classes,
    least,
    most,
    required: namesAt(context, schema, 'required', schema.get('required')),
  };
  const named = new Map<string, number>();
  for (const [key, item] of properties ?? []) {
    const own = schemaAt(context, schema, 'properties', item);
    named.set(key, nodes.all([own, ...patternsOf(set, key)]));
  }
  set = {
    ...set,
    named,
    hasProperties: properties !== undefined,
    restIsImplicit: additional === undefined,
    rest:
      additional === undefined
        ? set.rest
        : schemaAt(context, schema, 'additionalProperties', additional),
  };
  const names = schema.get('propertyNames');
  if (names === undefined) return set;
  const allowed = stringAutomaton(
    context.form(schemaAt(context, schema, 'propertyNames', names)).strings,
  );
  if (allowed === undefined)
    throw document.error(schema, 'propertyNames', 'Names of this kind are not supported.');
  return patterns.restrictNames(set, allowed);
}

function patternsOf(set: ObjectSet, key: string): number[] {
  return set.classes.filter(({ keys }) => accepts(keys, key)).map(({ node }) => node);
}

function readArrays(context: Context, schema: JsonObject): Union<ArraySet> {
  const { document } = context;
  const items = schema.get('items');
  const listed = schema.get('prefixItems') ?? (isList(items) ? items : undefined);
  const after = isList(items) ? schema.get('additionalItems') : items;
  if (listed !== undefined && !isList(listed))
    throw document.error(schema, 'prefixItems', 'It must be a list of schemas.');
  const [least, most] = countsAt(context, schema, 'minItems', 'maxItems');
  const unique = schema.get('uniqueItems') === true;
  const set: ArraySet = {
    ...ANY_ARRAY,
    prefix: (listed ?? []).map((item) => schemaAt(context, schema, 'prefixItems', item)),
    rest: after === undefined ? ANY_ARRAY.rest : schemaAt(context, schema, 'items', after),
    least,
    most,
    unique,
  };
  const contains = schema.get('contains');
  if (contains === undefined) return [set];
  const [fewest, largest] = countsAt(context, schema, 'minContains', 'maxContains');
  const atLeast = schema.has('minContains') ? fewest : 1;
  if (largest === Infinity && atLeast === 0) return [set];
  if (largest === Infinity && atLeast === 1) {
    return [{ ...set, contains: [schemaAt(context, schema, 'contains', contains)] }];
  }
  return new Refusal(
    document.error(
      schema,
      schema.has('maxContains') ? 'maxContains' : 'minContains',
      'Counting what an array contains is not supported.',
    ),
  );
}

function numberAt({ document }: Context, schema: JsonObject, keyword: string): number | undefined {
  const value = schema.get(keyword);
  if (value === undefined || typeof value === 'number') return value;
  throw document.error(schema, keyword, 'It must be a number.');
}

function countsAt(
  context: Context,
  schema: JsonObject,
  least: string,
  most: string,
): [number, number] {
  const count = (keyword: string): number | undefined => {
    const value = numberAt(context, schema, keyword);
    if (value === undefined || (Number.isInteger(value) && value >= 0)) return value;
    throw context.document.error(schema, keyword, 'It must be an integer of at least 0.');
  };
  return [count(least) ?? 0, count(most) ?? Infinity];
}

function mapAt({ document }: Context, schema: JsonObject, keyword: string): JsonObject | undefined {
  const value = schema.get(keyword);
  if (value === undefined || isObject(value)) return value;
  throw document.error(schema, keyword, 'It must be an object of schemas.');
}

export function schemaAt(
  { document, nodes }: Context,
  schema: JsonObject,
  keyword: string,
  value: Json,
): number {
  if (typeof value === 'boolean' || isObject(value)) return nodes.schema(value);
  throw document.error(schema, keyword, 'A schema must be an object or a boolean.');
}

export function namesAt(
  { document }: Context,
  schema: JsonObject,
  keyword: string,
  value: Json | undefined,
): Set<string> {
  if (value === undefined) return new Set();
  if (isList(value) && value.every((name) => typeof name === 'string')) return new Set(value);
  throw document.error(schema, keyword, 'It must be a list of names.');
}
