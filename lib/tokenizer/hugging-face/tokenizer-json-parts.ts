/**
 * The steps of a tokenizer.json: normalizer, pre-tokenizer and decoder. Those that Mistral's
 * tokenizers, and byte-level ones, are made of; others are refused by name.
 */
import { shown } from '../../files/facts';
import type { JsonObject } from '../../files/json-object';
import { quoted, unsupported } from '../../files/problems';
import type { Normalizer } from '../byte-level/bpe';
import { ByteLevelDecoder, CharacterDecoder, type Decoder } from '../decoder';
import {
  KNOWN_EXPRESSIONS,
  splitDigits,
  splitGpt2,
  splitInTurn,
  splitNumbers,
  type WordSplit,
} from '../byte-level/split';

/** Texts a file may put before others: `▁`. */
const MAX_PREFIX = 16;
const MAX_STEPS = 32;

export interface Normalizing {
  readonly normalize: Normalizer;
  /** How many times shorter it makes a text at most. */
  readonly shrinks: number;
}

export function readNormalizer(normalizer: JsonObject): Normalizing {
  const steps = sequenceOf(normalizer, 'normalizers').map(readNormalizerStep);
  return {
    normalize: (section) => steps.reduce((text, step) => step.normalize(text), section),
    shrinks: steps.reduce((product, { shrinks }) => product * shrinks, 1),
  };
}

function readNormalizerStep(step: JsonObject): Normalizing {
  const type = step.text('type');
  switch (type) {
    case 'Prepend': {
      const prefix = step.text('prepend');
      if (prefix.length > MAX_PREFIX) throw refused(step, 'prepend', 'a short prefix');
      return { normalize: (text) => (text === '' ? text : prefix + text), shrinks: 1 };
    }
    case 'Replace': {
      const [from, to] = readReplace(step);
      return {
        normalize: (text) => text.replaceAll(from, () => to),
        shrinks: from.length / to.length,
      };
    }
    default:
      throw refused(step, 'type', 'Prepend and Replace');
  }
}

/** A replacement of one string by another that is not longer: texts never grow on a file's word. */
function readReplace(step: JsonObject): readonly [from: string, to: string] {
  const pattern = step.object('pattern');
  if (pattern.lacks('String')) throw refused(step, 'pattern', 'a pattern of kind String');
  const from = pattern.text('String');
  const to = step.text('content');
  if (from === '' || to.length > from.length) {
    throw refused(step, 'content', 'a replacement that is not longer than what it replaces');
  }
  return [from, to];
}

export interface WordSplitter {
  readonly words: WordSplit;
  /** Whether words are taken as bytes. */
  readonly byteLevel: boolean;
}

export function readPreTokenizer(preTokenizer: JsonObject): WordSplitter {
  const steps = sequenceOf(preTokenizer, 'pretokenizers');
  const byteLevel = steps.findIndex((step) => step.raw('type') === 'ByteLevel');
  if (byteLevel >= 0 && byteLevel !== steps.length - 1) {
    throw refused(preTokenizer, 'type', 'ByteLevel as the last step');
  }
  const splits = steps.map(readSplit);
  return { byteLevel: byteLevel >= 0, words: splitInTurn(splits) };
}

function readSplit(step: JsonObject): WordSplit {
  const type = step.text('type');
  switch (type) {
    case 'Metaspace':
      return readMetaspace(step);
    case 'Digits':
      return (step.boolean('individual_digits') ?? false) ? splitDigits : splitNumbers;
    case 'Split':
      return readExpression(step);
    case 'ByteLevel': {
      const addsSpace = step.boolean('add_prefix_space') ?? true;
      const splits = (step.boolean('use_regex') ?? true) ? [splitGpt2] : [];
      const spaced: WordSplit = (word) => [addsSpace && !word.startsWith(' ') ? ` ${word}` : word];
      return splitInTurn([spaced, ...splits]);
    }
    default:
      throw refused(step, 'type', 'Metaspace, Digits, Split and ByteLevel');
  }
}

function readExpression(step: JsonObject): WordSplit {
  const pattern = step.object('pattern');
  const expression = pattern.string('Regex');
  const split = expression === undefined ? undefined : KNOWN_EXPRESSIONS.get(expression);
  if (split === undefined) {
    const found = expression === undefined ? shown(step.raw('pattern')) : quoted(expression);
    const known = 'expressions are not run but recognised: those of GPT-2, Llama 3 and Tekken';
    throw unsupported(step.path, `${step.name}.pattern is ${found}; ${known}`);
  }
  if (step.raw('behavior') !== 'Isolated') throw refused(step, 'behavior', '"Isolated"');
  if (step.boolean('invert') === true) throw refused(step, 'invert', 'false');
  return split;
}

/** Spaces become `▁`, and one is put before the text unless it begins with one. */
function readMetaspace(step: JsonObject): WordSplit {
  const symbol = step.string('replacement') ?? '\u2581';
  if (symbol.length !== 1) throw refused(step, 'replacement', 'one character');
  const scheme = readScheme(step);
  const cuts = step.boolean('split') ?? true;
  return (section, first) => {
    const spaced = section.replaceAll(' ', symbol);
    const prepends = scheme === 'always' || (scheme === 'first' && first);
    const text = prepends && !spaced.startsWith(symbol) ? symbol + spaced : spaced;
    return cuts ? cutBefore(text, symbol) : [text];
  };
}

function readScheme(step: JsonObject): string {
  // Files from before prepend_scheme have add_prefix_space.
  if (step.boolean('add_prefix_space') === false) return 'never';
  const scheme = step.string('prepend_scheme') ?? 'always';
  if (!['always', 'first', 'never'].includes(scheme)) {
    throw refused(step, 'prepend_scheme', '"always", "first" and "never"');
  }
  return scheme;
}

/** "▁a▁▁b" before "▁": "▁a", "▁", "▁b". */
function cutBefore(text: string, symbol: string): string[] {
  const words: string[] = [];
  let start = 0;
  for (let at = text.indexOf(symbol, 1); at >= 0; at = text.indexOf(symbol, at + 1)) {
    words.push(text.slice(start, at));
    start = at;
  }
  words.push(text.slice(start));
  return words;
}

/** The order that decoders of SentencePiece vocabularies have. */
const DECODER_ORDER = ['Replace', 'ByteFallback', 'Fuse', 'Strip'];

export function readDecoder(
  decoder: JsonObject,
  pieces: readonly string[],
  skipped: ReadonlySet<number>,
): Decoder {
  const steps = sequenceOf(decoder, 'decoders');
  const types = steps.map((step) => step.text('type'));
  if (types.length === 1 && types[0] === 'ByteLevel') return new ByteLevelDecoder(pieces, skipped);
  const order = types.map((type) => DECODER_ORDER.indexOf(type));
  if (order.includes(-1) || order.some((place, i) => i > 0 && place < order[i - 1]!)) {
    const supported =
      'supported are ByteLevel, and Replace, ByteFallback, Fuse, Strip in this order';
    throw unsupported(decoder.path, `decoder is ${quoted(types.join(', '))}; ${supported}`);
  }
  if (!types.includes('Fuse')) throw refused(decoder, 'type', 'a decoder with Fuse');
  const replacements = steps.filter((_, i) => types[i] === 'Replace').map(readReplace);
  const strips = steps.filter((_, i) => types[i] === 'Strip');
  return new CharacterDecoder(pieces, skipped, {
    replacements,
    byteFallback: types.includes('ByteFallback'),
    strips: strips.map(readStrip),
  });
}

function readStrip(step: JsonObject): { content: string; count: number } {
  const content = step.text('content');
  if (content.length !== 1) throw refused(step, 'content', 'one character');
  if (step.index('stop', 2 ** 31) !== 0) throw refused(step, 'stop', '0');
  return { content, count: step.index('start', 2 ** 31) };
}

/** The steps of a Sequence, or the one step there is. */
function sequenceOf(step: JsonObject, key: string): JsonObject[] {
  if (step.text('type') !== 'Sequence') return [step];
  const steps = step.objects(key);
  if (steps.length <= MAX_STEPS) return steps;
  throw unsupported(step.path, `${step.name} has ${steps.length} steps; at most ${MAX_STEPS}`);
}

function refused(step: JsonObject, key: string, supported: string): Error {
  const found = shown(step.raw(key));
  return unsupported(step.path, `${step.name}.${key} is ${found}; supported: ${supported}`);
}
