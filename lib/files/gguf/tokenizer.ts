import type { GgufTokenizer } from '../tokenizer-source';
import type { GgufValue } from './reader';
import type { GgufFacts } from './facts';

/**
 * The tokenizer keys of a GGUF header. Arrays have the right kind of elements, and ids are of tokens;
 * lengths and contents are for the tokenizer to check. Without the keys, `pieces` is empty.
 */
export function ggufTokenizer(facts: GgufFacts): GgufTokenizer {
  const array = <T extends GgufValue>(
    name: string,
    wanted: string,
    fits: (value: unknown) => value is T,
  ): T | undefined => {
    const key = `tokenizer.ggml.${name}`;
    if (!facts.has(key)) return undefined;
    const value = facts.raw(key);
    if (!fits(value)) throw facts.invalid(key, `is not an array of ${wanted}`);
    return value;
  };
  const strings = (name: string): readonly string[] | undefined =>
    array(name, 'strings', (value): value is readonly string[] => Array.isArray(value));

  const pieces = strings('tokens') ?? [];
  const id = (name: string): number | undefined => {
    return facts.tokenId(`tokenizer.ggml.${name}_token_id`, pieces.length);
  };

  return definedOnly({
    kind: 'gguf',
    path: facts.path,
    model: facts.string('tokenizer.ggml.model') ?? '',
    pre: facts.string('tokenizer.ggml.pre'),
    pieces,
    scores: array('scores', '32-bit floats', (value) => value instanceof Float32Array),
    types: array('token_type', '32-bit integers', (value) => value instanceof Int32Array),
    merges: strings('merges'),
    bosId: id('bos'),
    eosId: id('eos'),
    addBos: facts.boolean('tokenizer.ggml.add_bos_token'),
    addSpacePrefix: facts.boolean('tokenizer.ggml.add_space_prefix'),
  });
}

type Loose<T> = { [K in keyof T]: T[K] | (undefined extends T[K] ? undefined : never) };

/** The same without the properties that are undefined, as exactOptionalPropertyTypes wants it. */
function definedOnly(source: Loose<GgufTokenizer>): GgufTokenizer {
  const entries = Object.entries(source).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as unknown as GgufTokenizer;
}
