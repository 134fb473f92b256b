/**
 * How texts are split into words before byte-level BPE. Regular expressions of tokenizer files are
 * never run: a hostile one could take forever. The known ones are recognised by their text, and run
 * as the translations below, in which every alternative is linear in what it consumes.
 *
 * JavaScript's \s has U+FEFF and lacks U+0085; the files mean White_Space.
 */

import { TramontaneError } from '../../errors';

/** Cuts a section of text into words; `first` says whether it is the beginning of the whole text. */
export type WordSplit = (section: string, first: boolean) => Iterable<string>;

/** Cuts a text at the matches of an expression; both matches and what lies between are words. */
function splitBy(expression: RegExp): WordSplit {
  return function* (section) {
    let end = 0;
    const matches = section.matchAll(expression);
    for (let next = nextOf(matches); next.done !== true; next = nextOf(matches)) {
      const match = next.value;
      if (end < match.index) yield section.slice(end, match.index);
      yield match[0];
      end = match.index + match[0].length;
    }
    if (end < section.length) yield section.slice(end);
  };
}

/**
 * The next match. The engine remembers a place to come back to for each character of a run, and for
 * a run of many millions it has no room.
 */
function nextOf<T>(matches: Iterator<T>): IteratorResult<T> {
  try {
    return matches.next();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const problem = 'the text has millions of characters without a break between words';
    throw new TramontaneError('INVALID_PROMPT', `${problem}: encode it in parts`, { cause: error });
  }
}

/** Applies each split to the words of the one before. */
export function splitInTurn(splits: readonly WordSplit[]): WordSplit {
  return splits.reduce<WordSplit>(
    (before, split) =>
      function* (section, first) {
        let isFirst = first;
        for (const word of before(section, first)) {
          yield* split(word, isFirst);
          isFirst = false;
        }
      },
    (section) => [section],
  );
}

const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The long s is an s to whoever ignores case. */
const LLAMA3 =
  /'(?:[sS\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\p{White_Space}\p{L}\p{N}]+[\r\n]*|\p{White_Space}*[\r\n]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const TEKKEN =
  /[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\p{White_Space}\p{L}\p{N}]+[\r\n/]*|\p{White_Space}*[\r\n]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

export const splitGpt2 = splitBy(GPT2);
/** Each digit, and each other number character, by itself. */
export const splitDigits = splitBy(/\p{N}/gu);
/** Numbers as wholes. */
export const splitNumbers = splitBy(/\p{N}+/gu);
const splitPunctuation = splitBy(/[\p{P}$+<=>^~|]+/gu);
const splitThreeDigits = splitBy(/[0-9][0-9][0-9]/gu);
const splitLlama3 = splitBy(LLAMA3);
const splitTekken = splitBy(TEKKEN);

/** The expressions of tokenizer.json files, by their text. */
export const KNOWN_EXPRESSIONS: ReadonlyMap<string, WordSplit> = new Map([
  [
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
    splitGpt2,
  ],
  [
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    splitLlama3,
  ],
  [
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    splitTekken,
  ],
]);

/** What a pre-tokenizer named in a GGUF file does. */
export interface PreTokenizer {
  readonly words: WordSplit;
  /** Whether a word that is a piece becomes it at once, whatever the merges would make. */
  readonly ignoreMerges: boolean;
  /** Whether prompts start with the beginning-of-sequence token when the file does not say. */
  readonly addBos: boolean;
}

/** By the names that llama.cpp gave them (`tokenizer.ggml.pre`). */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  [
    'default',
    {
      words: splitInTurn([splitPunctuation, splitGpt2, splitNumbers, splitThreeDigits]),
      ignoreMerges: false,
      addBos: false,
    },
  ],
  ['smollm', { words: splitInTurn([splitDigits, splitGpt2]), ignoreMerges: false, addBos: false }],
  ['llama-bpe', { words: splitLlama3, ignoreMerges: true, addBos: true }],
  ['tekken', { words: splitTekken, ignoreMerges: true, addBos: true }],
]);
