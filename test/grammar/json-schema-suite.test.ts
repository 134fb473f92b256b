import { join } from 'node:path';
import { GrammarError } from '../../lib/errors';
import { compileGrammar, type Grammar } from '../../lib/model/grammar';
import { inSchemaOrder } from './schema-order';
import { describeWithStructured, readFolder } from './structured';

interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly {
    readonly description: string;
    readonly data: unknown;
    readonly valid: boolean;
  }[];
}

interface Benchmark {
  readonly id: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly valid: boolean; readonly data: unknown }[];
}

/** Valid, and not accepted: what the grammar leaves out on purpose. */
const NOT_WRITTEN: Readonly<Record<string, readonly string[]>> = {
  'const.json': ['same object with different property order is valid'],
  // `required` says the order where `properties` does not.
  'dependentRequired.json': ['with dependency', 'with dependencies', 'quoted quotes'],
  // Which vocabularies there are is not looked up.
  'vocabulary.json': ['no validation: invalid number, but it still validates'],
};

/** The grammar, matched by native; undefined where a schema is refused by name. */
function grammarOf(schema: unknown): Grammar | undefined {
  try {
    return compileGrammar({ json: schema as never, openObjects: true });
  } catch (error) {
    expect(error).toBeInstanceOf(GrammarError);
    expect((error as GrammarError).message.length).toBeGreaterThan(10);
    return undefined;
  }
}

function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(
    ([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`,
  );
  return `{${members.join(', ')}}`;
}

describeWithStructured('JSON-Schema-Test-Suite', (directory) => {
  const folder = join(directory, 'json-schema-test-suite');

  test.each(readFolder<Group[]>(folder))('%s: nothing invalid is accepted', (name, groups) => {
    const missed: string[] = [];
    for (const { description, schema, tests } of groups) {
      const grammar = grammarOf(schema);
      if (grammar === undefined) continue;
      for (const { data, valid, description: what } of tests) {
        const accepted = grammar.accepts(JSON.stringify(inSchemaOrder(data, schema)));
        if (accepted && !valid) throw new Error(`accepted: ${description}: ${what}`);
        if (!accepted && valid) missed.push(what);
      }
    }
    // There `format` asserts nothing; here it does.
    if (name === 'format.json')
      expect(missed.every((what) => what.startsWith('invalid'))).toBe(true);
    else expect(missed).toEqual(NOT_WRITTEN[name] ?? []);
  });

  test('most of it is understood', () => {
    let right = 0;
    let refused = 0;
    for (const [, groups] of readFolder<Group[]>(folder)) {
      for (const { schema, tests } of groups) {
        const grammar = grammarOf(schema);
        if (grammar === undefined) refused += tests.length;
        for (const { data, valid } of tests) {
          if (grammar?.accepts(JSON.stringify(inSchemaOrder(data, schema))) === valid) right++;
        }
      }
    }
    expect(right).toBeGreaterThanOrEqual(870);
    expect(refused).toBeLessThanOrEqual(400);
  });

  test.each(readFolder<Group[]>(join(folder, 'optional-format')))(
    'the format of %s: nothing invalid is accepted',
    (_, groups) => {
      for (const { schema, tests } of groups) {
        const grammar = grammarOf(schema)!;
        for (const { data, valid, description } of tests) {
          if (!valid && grammar.accepts(JSON.stringify(data))) throw new Error(description);
        }
      }
    },
  );
});

describeWithStructured('schemas of MaskBench', (directory) => {
  const files = readFolder<Benchmark[]>(join(directory, 'maskbench'));

  test.each(files)('%s: nothing invalid is accepted', (_, benchmarks) => {
    for (const { id, schema, tests } of benchmarks) {
      const grammar = grammarOf(schema);
      if (grammar === undefined) continue;
      for (const { valid, data } of tests) {
        if (valid) continue;
        for (const text of [JSON.stringify(data), JSON.stringify(inSchemaOrder(data, schema))]) {
          if (grammar.accepts(text)) throw new Error(`${id} accepts ${text}`);
        }
      }
    }
  });

  test('310 of 340 are understood, and of their instances 99% are accepted, compact and spaced', () => {
    let understood = 0;
    const counts = { valid: 0, compact: 0, spaced: 0 };
    for (const { schema, tests } of files.flatMap(([, benchmarks]) => benchmarks)) {
      const grammar = grammarOf(schema);
      if (grammar === undefined) continue;
      understood++;
      for (const { data } of tests.filter(({ valid }) => valid)) {
        const orders = [data, inSchemaOrder(data, schema)];
        counts.valid++;
        if (orders.some((value) => grammar.accepts(JSON.stringify(value)))) counts.compact++;
        if (orders.some((value) => grammar.accepts(spaced(value)))) counts.spaced++;
      }
    }
    expect(understood).toBeGreaterThanOrEqual(310);
    expect(counts.compact / counts.valid).toBeGreaterThanOrEqual(0.99);
    expect(counts.spaced / counts.valid).toBeGreaterThanOrEqual(0.99);
  });
});
