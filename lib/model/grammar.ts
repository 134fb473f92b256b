import { GrammarError, TramontaneError } from '../errors';
import { choiceRules } from '../grammar/choice';
import type { RuleSet } from '../grammar/expression';
import { gbnfRules } from '../grammar/gbnf';
import { schemaRules } from '../grammar/json-schema/schema-rules';
import { buildNetwork, type Network } from '../grammar/network';
import { regexRules } from '../grammar/regex-expression';
import * as check from './checks';
import { fromNative, native, type NativeGrammar } from './native';
import { isStandardSchema, type Schema } from './schema';

/** What a grammar is made of. */
export type GrammarSource =
  | {
      /** JSON texts that match this schema. */
      readonly json: Schema;
      /** Whether objects may have properties the schema does not name. @default false */
      readonly openObjects?: boolean;
      /** Lines, with an indent of two spaces. @default false */
      readonly pretty?: boolean;
    }
  /** Texts that match this regular expression (ECMAScript's) as a whole. */
  | { readonly regex: string }
  | { readonly choice: readonly string[] }
  /** A grammar as llama.cpp writes them; the text is of the rule `root`. */
  | { readonly gbnf: string };

/** A set of texts, of which a generation can be made one: `generate(prompt, { grammar })`. */
export interface Grammar {
  /** Whether a whole text is of the grammar, by the engine's own matcher. */
  accepts(text: string): boolean;
}

/** A compiled grammar; native has its tables from the first use on. */
export class CompiledGrammar implements Grammar {
  readonly #network: Network;
  #native: NativeGrammar | undefined;

  /** @param rules kept, so that a larger grammar can be made of it */
  constructor(readonly rules: RuleSet) {
    this.#network = buildNetwork(rules);
  }

  /** @throws TramontaneError NATIVE_UNAVAILABLE, INVALID_GRAMMAR */
  get native(): NativeGrammar {
    if (this.#native === undefined) {
      const { nodes, edges, most } = this.#network;
      try {
        this.#native = new (native().Grammar)(nodes, edges, most);
      } catch (error) {
        throw fromNative(error);
      }
    }
    return this.#native;
  }

  accepts(text: string): boolean {
    if (typeof text !== 'string') throw check.invalidOption('text', 'a string', text);
    // Half a surrogate pair is no text in UTF-8, and no token ends in one.
    if (/\p{Surrogate}/u.test(text)) return false;
    try {
      return this.native.accepts(Buffer.from(text));
    } catch (error) {
      throw fromNative(error);
    }
  }
}

/**
 * Compiles a grammar, once for any number of generations.
 * @throws GrammarError (INVALID_GRAMMAR) with `pointer` and `keyword`: what is wrong, or not supported
 */
export function compileGrammar(source: GrammarSource): Grammar {
  return new CompiledGrammar(rulesOf(source));
}

const KINDS = ['json', 'regex', 'choice', 'gbnf'] as const;

function rulesOf(source: GrammarSource): RuleSet {
  check.checkNames('compileGrammar()', source, [...KINDS, 'openObjects', 'pretty']);
  const given = KINDS.filter((kind) => Object.hasOwn(source, kind));
  if (given.length !== 1) {
    throw new TramontaneError(
      'INVALID_OPTION',
      `compileGrammar() takes one of ${KINDS.join(', ')}, but got ${given.join(', ') || 'none'}`,
    );
  }
  if ('json' in source) {
    const { openObjects = false, pretty = false } = source;
    check.boolean('openObjects', openObjects);
    check.boolean('pretty', pretty);
    return schemaRules(plainSchema(source.json), { openObjects, pretty });
  }
  if ('regex' in source) return regexRules(checkText('regex', source.regex));
  if ('gbnf' in source) return gbnfRules(checkText('grammar', source.gbnf));
  return choiceRules(checkChoice(source.choice));
}

function checkText(name: string, value: unknown): string {
  if (typeof value !== 'string') throw check.invalidOption(name, 'a string', value);
  return value;
}

function checkChoice(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.some((text) => typeof text !== 'string')) {
    throw check.invalidOption('choice', 'an array of strings', value);
  }
  return value as string[];
}

/** The JSON Schema of a schema. @throws GrammarError where a library cannot write it */
export function plainSchema(schema: Schema): unknown {
  if (!isStandardSchema(schema)) return schema;
  const { vendor, jsonSchema } = schema['~standard'];
  if (jsonSchema === undefined) {
    const problem = `the schema, of ${vendor}, cannot be written as JSON Schema: its version is too old`;
    throw new GrammarError(`${problem}, or it needs an adapter`, { keyword: '~standard' });
  }
  return jsonSchema.input({ target: 'draft-2020-12' });
}

/** Grammars of schemas that were used before: compiling one takes milliseconds. */
const ofSchemas = new WeakMap<object, CompiledGrammar>();

/** The grammar that a generation's options ask for. @throws TramontaneError */
export function grammarOf(options: {
  readonly json?: Schema | undefined;
  readonly regex?: string | undefined;
  readonly choice?: readonly string[] | undefined;
  readonly grammar?: string | Grammar | undefined;
}): CompiledGrammar | undefined {
  const { json, regex, choice, grammar } = options;
  const given = [json, regex, choice, grammar].filter((one) => one !== undefined);
  if (given.length > 1) {
    const message = 'json, regex, choice and grammar exclude each other';
    throw new TramontaneError('INVALID_OPTION', message);
  }
  if (grammar instanceof CompiledGrammar) return grammar;
  if (json !== undefined) {
    if (typeof json === 'boolean') return new CompiledGrammar(rulesOf({ json }));
    let known = ofSchemas.get(json);
    if (known === undefined) ofSchemas.set(json, (known = new CompiledGrammar(rulesOf({ json }))));
    return known;
  }
  if (regex !== undefined) return new CompiledGrammar(rulesOf({ regex }));
  if (choice !== undefined) return new CompiledGrammar(rulesOf({ choice }));
  if (typeof grammar === 'string') return new CompiledGrammar(rulesOf({ gbnf: grammar }));
  if (grammar === undefined) return undefined;
  throw check.invalidOption('grammar', 'GBNF, or what compileGrammar() made', grammar);
}
