/** Tokenizers from the `tokenizer.ggml.*` keys of GGUF files. */
import { invalid, quoted, unsupported } from '../files/problems';
import { BpeTokenizer, UNMAPPED } from './byte-level/bpe';
import { BYTE_CHARACTERS } from './byte-level/byte-level';
import { ByteLevelDecoder } from './decoder';
import { Literals } from './literals';
import { readMerges } from './byte-level/merges';
import { SentencePieceTokenizer } from './sentencepiece/sentencepiece';
import { PRE_TOKENIZERS } from './byte-level/split';
import type { BaseTokenizer } from './base-tokenizer';
import type { GgufTokenizer } from '../files/tokenizer-source';
import { PieceType, sequenceTokensWithin, typesWithin } from './vocabulary';

/** @param rows of the model; Infinity for a tokenizer by itself */
export function createGgufTokenizer(given: GgufTokenizer, rows: number): BaseTokenizer {
  const { path, model, pieces } = given;
  if (model === '' || pieces.length === 0) {
    throw invalid(
      path,
      'has no tokenizer: tokenizer.ggml.model or tokenizer.ggml.tokens is missing',
    );
  }
  checkLength(path, 'scores', given.scores, pieces.length);
  checkLength(path, 'token_type', given.types, pieces.length);
  const types = given.types ?? new Int32Array(pieces.length).fill(PieceType.NORMAL);
  const source = { ...given, types: typesWithin(rows, path, pieces, types) };
  switch (model) {
    case 'llama':
      if (given.types === undefined) throw invalid(path, 'tokenizer.ggml.token_type is missing');
      return createSentencePiece(source, rows);
    case 'gpt2':
      return createByteLevel(source, rows);
    default:
      throw unsupported(
        path,
        `tokenizer.ggml.model is ${quoted(model)}; "llama" and "gpt2" are supported`,
      );
  }
}

/** With a type for each piece, as the model's rows allow it. */
type TypedSource = GgufTokenizer & { readonly types: Int32Array };

function createSentencePiece(source: TypedSource, rows: number): BaseTokenizer {
  const { path, pieces, scores, types } = source;
  if (scores === undefined) throw invalid(path, 'tokenizer.ggml.scores is missing');
  const isControl = (id: number): boolean => types[id] === PieceType.CONTROL;
  return new SentencePieceTokenizer({
    path,
    pieces,
    scores,
    types,
    addDummyPrefix: source.addSpacePrefix ?? true,
    unknownSurface: ' \u2047 ',
    sequenceTokens: sequenceTokensWithin(rows, {
      // What every Llama vocabulary has, for files that don't say.
      bosId: tokenId(source, 'bosId') ?? (isControl(1) ? 1 : undefined),
      eosId: tokenId(source, 'eosId') ?? (isControl(2) ? 2 : undefined),
      addBos: source.addBos ?? true,
    }),
  });
}

function createByteLevel(source: TypedSource, rows: number): BaseTokenizer {
  const { path, pieces, merges } = source;
  if (merges === undefined) throw invalid(path, 'tokenizer.ggml.merges is missing');
  const name = source.pre ?? 'default';
  const preTokenizer = PRE_TOKENIZERS.get(name);
  if (preTokenizer === undefined) {
    const known = [...PRE_TOKENIZERS.keys()].join(', ');
    throw unsupported(path, `tokenizer.ggml.pre is ${quoted(name)}; supported are ${known}`);
  }
  const { ids, control, userDefined } = sortPieces(source);
  return new BpeTokenizer({
    pieces,
    control,
    ids,
    merges: readMerges(path, merges, ids, 'first'),
    alphabet: {
      kind: 'bytes',
      byteIds: Int32Array.from(BYTE_CHARACTERS, (character) => ids.get(character) ?? UNMAPPED),
    },
    ignoreMerges: preTokenizer.ignoreMerges,
    literals: userDefined.length > 0 ? new Literals(path, userDefined) : undefined,
    normalizedLiterals: undefined,
    normalize: undefined,
    shrinks: 1,
    words: preTokenizer.words,
    decoder: new ByteLevelDecoder(pieces, control, new Set(userDefined.map(([, id]) => id))),
    sequenceTokens: sequenceTokensWithin(rows, {
      bosId: tokenId(source, 'bosId'),
      eosId: tokenId(source, 'eosId'),
      addBos: source.addBos ?? preTokenizer.addBos,
    }),
  });
}

/** Which pieces text can become (the last of the same ones), which add nothing to text, and which are found in it as they are. */
function sortPieces({ path, pieces, types }: TypedSource): {
  ids: Map<string, number>;
  control: Set<number>;
  userDefined: [string, number][];
} {
  const ids = new Map<string, number>();
  const control = new Set<number>();
  const userDefined: [string, number][] = [];
  pieces.forEach((piece, id) => {
    const type = types[id]!;
    if (type < PieceType.NORMAL || type > PieceType.BYTE) {
      throw invalid(path, `piece ${id}, ${quoted(piece)}, has the unknown type ${type}`);
    }
    if (type === PieceType.CONTROL || type === PieceType.UNKNOWN) {
      control.add(id);
      return;
    }
    if (piece === '') return;
    ids.set(piece, id);
    if (type === PieceType.USER_DEFINED) userDefined.push([piece, id]);
  });
  return { ids, control, userDefined };
}

function checkLength(
  path: string,
  key: string,
  values: ArrayLike<unknown> | undefined,
  wanted: number,
): void {
  if (values === undefined || values.length === wanted) return;
  const found = `has ${values.length} values for ${wanted} tokens`;
  throw invalid(path, `tokenizer.ggml.${key} ${found}`);
}

function tokenId(source: GgufTokenizer, name: 'bosId' | 'eosId'): number | undefined {
  const id = source[name];
  if (id === undefined || id < source.pieces.length) return id;
  const key = `tokenizer.ggml.${name === 'bosId' ? 'bos' : 'eos'}_token_id`;
  throw invalid(source.path, `${key} is ${id}, but there are ${source.pieces.length} tokens`);
}
