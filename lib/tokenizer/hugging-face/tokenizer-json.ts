/** Tokenizers from tokenizer.json, the format of Hugging Face `tokenizers`: its BPE models. */
import { isObject } from '../../files/json';
import { shown } from '../../files/facts';
import { JsonObject } from '../../files/json-object';
import { JSON_LIMITS, MAX_PIECES } from '../../files/limits';
import { invalid, quoted, unsupported } from '../../files/problems';
import { BpeTokenizer, UNMAPPED, type BpeModel, type Normalizer } from '../byte-level/bpe';
import { BYTE_CHARACTERS } from '../byte-level/byte-level';
import { Literals } from '../literals';
import type { MergeTable } from '../byte-level/merge-table';
import { readMerges } from '../byte-level/merges';
import { Seams } from '../seams';
import type { BaseTokenizer } from '../base-tokenizer';
import { readTokenizerConfig } from './tokenizer-config';
import { readDecoder, readNormalizer, readPreTokenizer } from './tokenizer-json-parts';
import type { TokenizerJsonFile } from '../../files/tokenizer-source';
import { sequenceTokensWithin, tooFewRows, type SequenceTokens } from '../vocabulary';

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Whether it is looked for after the text was normalized; then it is normalized too. */
  readonly normalized: boolean;
  /** The content as it is looked for and as it is decoded. */
  readonly form: string;
}

/** @param rows of the model; Infinity for a tokenizer by itself */
export function createTokenizerJson(source: TokenizerJsonFile, rows: number): BaseTokenizer {
  const { path, bytes } = source;
  const file = JsonObject.parse(source, JSON_LIMITS.tokenizer);
  const model = file.object('model');
  refuseOtherModels(model);
  const normalizer = file.optional('normalizer', readNormalizer);
  const preTokenizer = file.optional('pre_tokenizer', readPreTokenizer);
  // An entry takes more than one byte, so no id of a vocabulary without holes reaches its length.
  const limit = Math.min(bytes.length, MAX_PIECES);
  const ids = readIds(model, limit);
  const added = file.lacks('added_tokens')
    ? []
    : readAddedTokens(file, ids, normalizer?.normalize, limit).map((token) =>
        // No text becomes a token that the model has no row for.
        token.id < rows ? token : { ...token, special: true },
      );
  const pieces = piecesById(path, ids, added);
  const forms = [...pieces];
  for (const { id, form } of added) forms[id] = form;
  dropBeyond(rows, path, ids, added);
  const merges = readMerges(path, model.array('merges'), ids, 'last');
  const special = new Set(added.filter((token) => token.special).map(({ id }) => id));
  const decoder = file.optional('decoder', (found) => readDecoder(found, forms, special));
  if (decoder === undefined) throw unsupported(path, 'no decoder; BPE needs one');
  return new BpeTokenizer({
    pieces,
    control: special,
    ids,
    merges,
    alphabet:
      preTokenizer?.byteLevel === true
        ? byteAlphabet(model, ids)
        : characterAlphabet(model, ids, merges),
    ignoreMerges: model.boolean('ignore_merges') ?? false,
    literals: literalsOf(
      path,
      added.filter(({ normalized }) => !normalized),
    ),
    normalizedLiterals: literalsOf(
      path,
      added.filter(({ normalized }) => normalized),
    ),
    normalize: normalizer?.normalize,
    shrinks: normalizer?.shrinks ?? 1,
    words: preTokenizer?.words,
    decoder,
    sequenceTokens: sequenceTokensWithin(rows, readSequenceTokens(source, file, ids, added)),
  });
}

/** Settings no Mistral tokenizer has, which change what is computed. */
function refuseOtherModels(model: JsonObject): void {
  const type = model.string('type') ?? 'BPE';
  if (type !== 'BPE') {
    throw unsupported(model.path, `model.type is ${quoted(type)}; "BPE" is supported`);
  }
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    const value = model.raw(key);
    if (model.lacks(key) || value === '' || value === 0) continue;
    throw unsupported(model.path, `model.${key} is ${shown(value)}, which is not supported`);
  }
}

/** Ids of the model's pieces; added tokens are not among them. */
function readIds(model: JsonObject, limit: number): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [piece, id] of model.object('vocab').entries()) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= limit) {
      throw invalid(model.path, `model.vocab: the id of ${quoted(piece)} is ${shown(id)}`);
    }
    ids.set(piece, id);
  }
  if (ids.size === 0) throw invalid(model.path, 'model.vocab is empty');
  return ids;
}

function readAddedTokens(
  file: JsonObject,
  ids: ReadonlyMap<string, number>,
  normalize: Normalizer | undefined,
  limit: number,
): AddedToken[] {
  return file.objects('added_tokens').map((token) => {
    const id = token.index('id', limit);
    const content = token.text('content');
    const special = token.boolean('special') ?? false;
    const normalized = token.boolean('normalized') ?? !special;
    const existing = ids.get(content);
    if (existing !== undefined && existing !== id) {
      const places = `${id} in added_tokens and ${existing} in model.vocab`;
      throw invalid(file.path, `${quoted(content)} has the id ${places}`);
    }
    for (const key of special ? [] : ['single_word', 'lstrip', 'rstrip']) {
      if (token.boolean(key) !== true) continue;
      throw unsupported(file.path, `${token.name}, ${quoted(content)}: ${key} is not supported`);
    }
    const form = normalized && normalize !== undefined ? normalize(content) : content;
    return { id, content, special, normalized, form };
  });
}

/** The piece of each id, empty where there is none. */
function piecesById(
  path: string,
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): string[] {
  const pieces: string[] = [];
  const place = (id: number, content: string): void => {
    while (pieces.length <= id) pieces.push('');
    const other = pieces[id]!;
    if (other !== '' && other !== content) {
      throw invalid(path, `${quoted(other)} and ${quoted(content)} both have the id ${id}`);
    }
    pieces[id] = content;
  };
  for (const [piece, id] of ids) place(id, piece);
  for (const { id, content } of added) place(id, content);
  return pieces;
}

/** Takes added tokens that the model has no row for from the pieces that text can become. */
function dropBeyond(
  rows: number,
  path: string,
  ids: Map<string, number>,
  added: readonly AddedToken[],
): void {
  const optional = new Set(added.map(({ id }) => id));
  for (const [piece, id] of ids) {
    if (id < rows) continue;
    if (!optional.has(id)) throw tooFewRows(path, id, piece, rows);
    ids.delete(piece);
  }
}

/**
 * What is found in plain text. Special tokens are not: text that spells one stays text. But where
 * one is spelled out, no other token is looked for inside, as `tokenizers` does it.
 */
function literalsOf(path: string, added: readonly AddedToken[]): Literals | undefined {
  if (added.every(({ special }) => special)) return undefined;
  return new Literals(
    path,
    added.map(({ form, id, special }) => [form, special ? undefined : id]),
  );
}

function byteAlphabet(model: JsonObject, ids: ReadonlyMap<string, number>): BpeModel['alphabet'] {
  if (model.boolean('byte_fallback') === true) {
    throw unsupported(model.path, 'model.byte_fallback together with a ByteLevel pre-tokenizer');
  }
  const unknownId = readUnknown(model, ids) ?? UNMAPPED;
  const byteIds = Int32Array.from(BYTE_CHARACTERS, (one) => ids.get(one) ?? unknownId);
  return { kind: 'bytes', byteIds };
}

function characterAlphabet(
  model: JsonObject,
  ids: ReadonlyMap<string, number>,
  merges: MergeTable,
): BpeModel['alphabet'] {
  const byteIds =
    (model.boolean('byte_fallback') ?? false) ? readBytes(model.path, ids) : undefined;
  // Seams are between characters: where all have a piece or bytes, and bytes don't merge.
  const hasSeams = byteIds !== undefined && !merges.involves(new Set(byteIds));
  return {
    kind: 'characters',
    byteIds,
    unknownId: readUnknown(model, ids),
    fuseUnknown: model.boolean('fuse_unk') ?? false,
    seams: hasSeams ? new Seams(ids.keys()) : undefined,
  };
}

function readUnknown(model: JsonObject, ids: ReadonlyMap<string, number>): number | undefined {
  if (model.lacks('unk_token')) return undefined;
  const piece = model.text('unk_token');
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

function readSequenceTokens(
  source: TokenizerJsonFile,
  file: JsonObject,
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): SequenceTokens {
  const config = readTokenizerConfig(source);
  const first = file.optional('post_processor', firstOfTemplate);
  const idOf = (piece: string | undefined): number | undefined => {
    if (piece === undefined) return undefined;
    return added.find(({ content }) => content === piece)?.id ?? ids.get(piece);
  };
  return {
    bosId: idOf(config.bosToken ?? first),
    eosId: idOf(config.eosToken ?? '</s>'),
    addBos: config.addBos ?? first !== undefined,
  };
}

/** The special token that the post-processor's template puts first. */
function firstOfTemplate(processor: JsonObject): string | undefined {
  const processors =
    processor.raw('type') === 'Sequence' ? processor.objects('processors') : [processor];
  const template = processors.find((one) => one.raw('type') === 'TemplateProcessing');
  const [first] = template?.array('single') ?? [];
  const token = isObject(first) ? first['SpecialToken'] : undefined;
  const id = isObject(token) ? token['id'] : undefined;
  return typeof id === 'string' ? id : undefined;
}
