/** Tokenizers from tokenizer.json, the format of Hugging Face `tokenizers`: its BPE models. */
import { invalid, quoted, unsupported } from '../files/problems';
import { BpeTokenizer, UNMAPPED, type BpeModel } from './bpe';
import { BYTE_CHARACTERS } from './byte-level';
import { isRecord, JsonObject, shown } from './json';
import { Literals } from './literals';
import type { MergeTable } from './merge-table';
import { readMerges } from './merges';
import { Seams } from './seams';
import type { Tokenizer } from './tokenizer';
import { readTokenizerConfig } from './tokenizer-config';
import { readDecoder, readNormalizer, readPreTokenizer } from './tokenizer-json-parts';
import type { TokenizerJsonFile } from './tokenizer-source';
import { byteOfPiece, sequenceTokens, type SequenceTokens } from './vocabulary';

interface Vocabulary {
  /** Piece of each id, added tokens included; undefined where an id is not used. */
  readonly pieces: (string | undefined)[];
  /** The model's pieces, without added tokens. */
  readonly ids: ReadonlyMap<string, number>;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
}

export function createTokenizerJson(source: TokenizerJsonFile): Tokenizer {
  const { path, text } = source;
  const file = JsonObject.parse(path, text);
  const model = file.object('model');
  refuseOtherModels(model);
  // Each entry takes more than one character, so no id of a vocabulary without holes reaches this.
  const { pieces, ids } = readVocabulary(model, text.length);
  const added = readAddedTokens(file, pieces, ids, text.length);
  const special = new Set(added.filter((token) => token.special).map(({ id }) => id));
  pieces.forEach((piece, id) => {
    if (piece === undefined) special.add(id);
  });
  const merges = readMerges(path, model.array('merges'), ids, 'last');
  const normalize = file.lacks('normalizer')
    ? undefined
    : readNormalizer(file.object('normalizer'));
  const preTokenizer = file.lacks('pre_tokenizer')
    ? undefined
    : readPreTokenizer(file.object('pre_tokenizer'));
  if (file.lacks('decoder')) throw unsupported(path, 'no decoder; BPE needs one');
  return new BpeTokenizer({
    vocabularySize: pieces.length,
    ids,
    merges,
    alphabet:
      preTokenizer?.byteLevel === true
        ? byteAlphabet(model, ids)
        : characterAlphabet(model, ids, merges),
    ignoreMerges: model.boolean('ignore_merges', false),
    ...literals(added, normalize),
    ...(normalize === undefined ? {} : { normalize }),
    ...(preTokenizer === undefined ? {} : { words: preTokenizer.words }),
    decoder: readDecoder(
      file.object('decoder'),
      pieces.map((piece) => piece ?? ''),
      special,
    ),
    sequenceTokens: readSequenceTokens(source, file, ids, added),
  });
}

/** Settings no Mistral tokenizer has, which change what is computed. */
function refuseOtherModels(model: JsonObject): void {
  const type = model.lacks('type') ? 'BPE' : model.string('type');
  if (type !== 'BPE') {
    throw unsupported(model.path, `model.type is ${quoted(type)}; "BPE" is supported`);
  }
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    const value = model.raw(key);
    if (model.lacks(key) || value === '' || value === 0) continue;
    throw unsupported(model.path, `model.${key} is ${shown(value)}, which is not supported`);
  }
}

function readVocabulary(model: JsonObject, limit: number): Vocabulary {
  const vocabulary = model.object('vocab');
  const ids = new Map<string, number>();
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of vocabulary.entries()) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= limit) {
      throw invalid(model.path, `model.vocab: the id of ${quoted(piece)} is ${shown(id)}`);
    }
    setPiece(model.path, pieces, id, piece);
    ids.set(piece, id);
  }
  if (pieces.length === 0) throw invalid(model.path, 'model.vocab is empty');
  return { pieces, ids };
}

function setPiece(path: string, pieces: (string | undefined)[], id: number, piece: string): void {
  while (pieces.length <= id) pieces.push(undefined);
  const other = pieces[id];
  if (other !== undefined && other !== piece) {
    throw invalid(path, `${quoted(other)} and ${quoted(piece)} both have the id ${id}`);
  }
  pieces[id] = piece;
}

function readAddedTokens(
  file: JsonObject,
  pieces: (string | undefined)[],
  ids: ReadonlyMap<string, number>,
  limit: number,
): AddedToken[] {
  if (file.lacks('added_tokens')) return [];
  return file.objects('added_tokens').map((token) => {
    const id = token.index('id', limit);
    const content = token.string('content');
    const special = token.boolean('special', false);
    const existing = ids.get(content);
    if (existing !== undefined && existing !== id) {
      const places = `${id} in added_tokens and ${existing} in model.vocab`;
      throw invalid(file.path, `${quoted(content)} has the id ${places}`);
    }
    setPiece(file.path, pieces, id, content);
    for (const key of special ? [] : ['single_word', 'lstrip', 'rstrip']) {
      if (!token.boolean(key, false)) continue;
      throw unsupported(file.path, `${token.name}, ${quoted(content)}: ${key} is not supported`);
    }
    return { id, content, special, normalized: token.boolean('normalized', !special) };
  });
}

/**
 * What is found in plain text. Special tokens are not: text that spells one stays text. But where
 * one is spelled out, no other token is looked for inside, as `tokenizers` does it.
 */
function literals(
  added: readonly AddedToken[],
  normalize: BpeModel['normalize'],
): Pick<BpeModel, 'literals' | 'normalizedLiterals'> {
  const plain = added.filter(({ normalized }) => !normalized);
  const normalized = added.filter((token) => token.normalized);
  const matcher = (tokens: readonly AddedToken[]): Literals | undefined => {
    if (tokens.every(({ special }) => special)) return undefined;
    return new Literals(
      tokens.map(({ content, id, special }) => [content, special ? undefined : id]),
    );
  };
  const literal = matcher(plain);
  const normalizedLiteral = matcher(
    normalized.map((token) => ({ ...token, content: normalize?.(token.content) ?? token.content })),
  );
  return {
    ...(literal === undefined ? {} : { literals: literal }),
    ...(normalizedLiteral === undefined ? {} : { normalizedLiterals: normalizedLiteral }),
  };
}

function byteAlphabet(model: JsonObject, ids: ReadonlyMap<string, number>): BpeModel['alphabet'] {
  if (model.boolean('byte_fallback', false)) {
    throw unsupported(model.path, 'model.byte_fallback together with a ByteLevel pre-tokenizer');
  }
  const unknownId = readUnknown(model, ids) ?? UNMAPPED;
  return {
    kind: 'bytes',
    byteIds: Int32Array.from(BYTE_CHARACTERS, (character) => ids.get(character) ?? unknownId),
  };
}

function characterAlphabet(
  model: JsonObject,
  ids: ReadonlyMap<string, number>,
  merges: MergeTable,
): BpeModel['alphabet'] {
  const unknownId = readUnknown(model, ids);
  const byteIds = model.boolean('byte_fallback', false) ? readBytes(model.path, ids) : undefined;
  return {
    kind: 'characters',
    ...(byteIds === undefined ? {} : { byteIds }),
    ...(unknownId === undefined ? {} : { unknownId }),
    fuseUnknown: model.boolean('fuse_unk', false),
    ...(byteIds === undefined ? {} : seamsOf(ids, merges, byteIds)),
  };
}

function readUnknown(model: JsonObject, ids: ReadonlyMap<string, number>): number | undefined {
  if (model.lacks('unk_token')) return undefined;
  const piece = model.string('unk_token');
  const id = ids.get(piece);
  if (id === undefined)
    throw invalid(model.path, `model.unk_token ${quoted(piece)}: no such piece`);
  return id;
}

/** Ids of `<0x00>` to `<0xFF>`; undefined if there are none at all. */
function readBytes(path: string, ids: ReadonlyMap<string, number>): Int32Array | undefined {
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) => {
    const digits = byte.toString(16).toUpperCase().padStart(2, '0');
    return ids.get(`<0x${digits}>`) ?? UNMAPPED;
  });
  const missing = byteIds.filter((id) => id === UNMAPPED).length;
  if (missing === 256) return undefined;
  if (missing > 0) throw invalid(path, `model.vocab has ${256 - missing} of the 256 byte pieces`);
  return byteIds;
}

/**
 * Seams are between characters, so there are none where bytes of characters without a piece merge.
 */
function seamsOf(
  ids: ReadonlyMap<string, number>,
  merges: MergeTable,
  byteIds: Int32Array,
): { seams?: Seams } {
  const bytes = new Set(byteIds);
  if (merges.involves(bytes)) return {};
  const pieces: string[] = [];
  for (const piece of ids.keys()) if (byteOfPiece(piece) < 0) pieces.push(piece);
  return { seams: new Seams(pieces) };
}

function readSequenceTokens(
  { path, config: configText }: TokenizerJsonFile,
  file: JsonObject,
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): SequenceTokens {
  const config = readTokenizerConfig(path, configText);
  const first = firstOfTemplate(file);
  const idOf = (piece: string | undefined): number | undefined => {
    if (piece === undefined) return undefined;
    return added.find(({ content }) => content === piece)?.id ?? ids.get(piece);
  };
  const eosToken = config.eosToken ?? added.find(({ content }) => content === '</s>')?.content;
  return sequenceTokens(
    idOf(config.bosToken ?? first),
    idOf(eosToken),
    config.addBos ?? first !== undefined,
  );
}

/** The special token that the post-processor's template puts first. */
function firstOfTemplate(file: JsonObject): string | undefined {
  if (file.lacks('post_processor')) return undefined;
  const processor = file.object('post_processor');
  const processors =
    processor.raw('type') === 'Sequence' ? processor.objects('processors') : [processor];
  const template = processors.find((one) => one.raw('type') === 'TemplateProcessing');
  const [first] = template?.array('single') ?? [];
  const token = isRecord(first) ? first['SpecialToken'] : undefined;
  const id = isRecord(token) ? token['id'] : undefined;
  return typeof id === 'string' ? id : undefined;
}
