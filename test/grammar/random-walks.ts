/** Random texts of grammars: tokens drawn as by a model whose logits mean nothing. */
import type { CompiledGrammar } from '../../lib/model/grammar';
import { native, type NativeVocabulary } from '../../lib/model/native';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import type { Random } from './random';

export interface Walk {
  readonly text: string;
  /** It ended by itself, not by the limit. */
  readonly ended: boolean;
}

/** @throws if no token may follow where the text may not end */
export function walk(
  grammar: CompiledGrammar,
  { tokenizer, vocabulary }: { tokenizer: Tokenizer; vocabulary: NativeVocabulary },
  random: Random,
  mostTokens: number,
): Walk {
  const end = tokenizer.eosId!;
  const options = { endTokens: Int32Array.of(end), dummySpace: true };
  const matcher = new (native().Matcher)(grammar.native, vocabulary, options);
  const bytes: Uint8Array[] = [];
  for (let i = 0; i < mostTokens && !matcher.finished; i++) {
    const token = draw(matcher.mask(), random);
    if (token === undefined) throw new Error(`no token after ${textOf(bytes)}`);
    if (!matcher.accept(token)) throw new Error(`${token} was allowed after ${textOf(bytes)}`);
    if (token === end) return { text: textOf(bytes), ended: true };
    bytes.push(tokenizer.tokenBytes(token));
  }
  return { text: textOf(bytes), ended: matcher.finished };
}

function textOf(bytes: readonly Uint8Array[]): string {
  const text = Buffer.concat(bytes).toString('utf8');
  return text.startsWith(' ') ? text.slice(1) : text;
}

/** One of the tokens whose bits are set. Quotes and brackets are few: half of the draws prefer low ids. */
function draw(mask: Uint32Array, random: Random): number | undefined {
  const words = Array.from(mask.keys()).filter((index) => mask[index] !== 0);
  if (words.length === 0) return undefined;
  const word = random.below(2) === 0 ? words[random.below(words.length)]! : words[0]!;
  const bits = Array.from({ length: 32 }, (_, bit) => bit).filter(
    (bit) => ((mask[word]! >>> bit) & 1) === 1,
  );
  return word * 32 + bits[random.below(bits.length)]!;
}
