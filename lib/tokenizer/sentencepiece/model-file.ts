/** Reads tokenizer.model: the ModelProto of sentencepiece_model.proto (google/sentencepiece). */
import { MAX_PIECES } from '../../files/limits';
import { invalid, quoted, unsupported } from '../../files/problems';
import { ProtobufReader } from './protobuf';
import { SPACE_SYMBOL, type SentencePieceModel } from './scored-vocabulary';
import { readTokenizerConfig, type AddedPiece } from '../hugging-face/tokenizer-config';
import type { SentencePieceFile } from '../../files/tokenizer-source';
import { PieceType, sequenceTokensWithin, typesWithin } from '../vocabulary';

interface Pieces {
  readonly pieces: string[];
  readonly scores: number[];
  readonly types: number[];
}

/** The parts of TrainerSpec that matter, with the defaults of the .proto file. */
interface TrainerSpec {
  modelType: number;
  byteFallback: boolean;
  spaceAsSuffix: boolean;
  bosId: number;
  eosId: number;
  unknownSurface: string;
}

/** The parts of NormalizerSpec that matter, with the defaults of the .proto file. */
interface NormalizerSpec {
  characterMapBytes: number;
  addDummyPrefix: boolean;
  removeExtraSpaces: boolean;
  escapeSpaces: boolean;
}

/** The kinds of model by the number in TrainerSpec. */
const MODEL_TYPES = ['', 'unigram', 'BPE', 'word', 'character'];
const BPE = 2;

/** @param rows of the model; Infinity for a tokenizer by itself */
export function readSentencePiece(file: SentencePieceFile, rows: number): SentencePieceModel {
  const { path, bytes } = file;
  const pieces: Pieces = { pieces: [], scores: [], types: [] };
  const trainer: TrainerSpec = {
    modelType: 1,
    byteFallback: false,
    spaceAsSuffix: false,
    bosId: 1,
    eosId: 2,
    unknownSurface: ' \u2047 ',
  };
  const normalizer: NormalizerSpec = {
    characterMapBytes: 0,
    addDummyPrefix: true,
    removeExtraSpaces: true,
    escapeSpaces: true,
  };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const model = new ProtobufReader(path, buffer);
  while (model.next()) {
    switch (model.field) {
      case 1:
        readPiece(model.message(), pieces);
        if (pieces.pieces.length > MAX_PIECES)
          throw invalid(path, `more than ${MAX_PIECES} pieces`);
        break;
      case 2:
        readTrainer(model.message(), trainer);
        break;
      case 3:
        readNormalizer(model.message(), normalizer);
        break;
      default:
        model.skip();
    }
  }
  checkPieces(path, pieces, trainer);
  refuseOtherKinds(path, trainer, normalizer);
  const config = readTokenizerConfig(file);
  addPieces(pieces, config.added);
  return {
    path,
    ...pieces,
    types: typesWithin(rows, path, pieces.pieces, pieces.types),
    addDummyPrefix: normalizer.addDummyPrefix,
    unknownSurface: trainer.unknownSurface,
    sequenceTokens: sequenceTokensWithin(rows, {
      bosId: controlId(path, pieces, config.bosToken, trainer.bosId),
      eosId: controlId(path, pieces, config.eosToken, trainer.eosId),
      addBos: config.addBos ?? true,
    }),
  };
}

/**
 * Puts tokens of a fine-tune after the pieces of the model it started from, or in the place of some
 * of them: `<|im_start|>` for `[control_8]`. Ids that are left out have no piece.
 */
function addPieces({ pieces, scores, types }: Pieces, added: readonly AddedPiece[]): void {
  for (const { id, content, special } of added) {
    const piece = content.replaceAll(' ', SPACE_SYMBOL);
    if (pieces[id] === piece && types[id] !== PieceType.NORMAL) continue;
    while (pieces.length <= id) {
      pieces.push('');
      scores.push(0);
      types.push(PieceType.NORMAL);
    }
    pieces[id] = piece;
    types[id] = special ? PieceType.CONTROL : PieceType.USER_DEFINED;
  }
}

/** The id of a control piece: the one with this name, else the one the model itself names. */
function controlId(
  path: string,
  { pieces, types }: Pieces,
  name: string | undefined,
  trainerId: number,
): number | undefined {
  const named = name === undefined ? -1 : pieces.indexOf(name);
  const id = named >= 0 ? named : trainerId;
  if (id < 0) return undefined;
  if (types[id] === PieceType.CONTROL) return id;
  throw invalid(path, `piece ${id} begins or ends sequences, but is not a control piece`);
}

function readPiece(message: ProtobufReader, { pieces, scores, types }: Pieces): void {
  let piece = '';
  let score = 0;
  let type: number = PieceType.NORMAL;
  while (message.next()) {
    if (message.field === 1) piece = message.string();
    else if (message.field === 2) score = message.float();
    else if (message.field === 3) type = message.int32();
    else message.skip();
  }
  pieces.push(piece);
  scores.push(score);
  types.push(type);
}

function readTrainer(message: ProtobufReader, trainer: TrainerSpec): void {
  while (message.next()) {
    switch (message.field) {
      case 3:
        trainer.modelType = message.int32();
        break;
      case 24:
        trainer.spaceAsSuffix = message.boolean();
        break;
      case 35:
        trainer.byteFallback = message.boolean();
        break;
      case 41:
        trainer.bosId = message.int32();
        break;
      case 42:
        trainer.eosId = message.int32();
        break;
      case 44:
        trainer.unknownSurface = message.string();
        break;
      default:
        message.skip();
    }
  }
}

function readNormalizer(message: ProtobufReader, normalizer: NormalizerSpec): void {
  while (message.next()) {
    switch (message.field) {
      case 2:
        normalizer.characterMapBytes = message.byteLength();
        break;
      case 3:
        normalizer.addDummyPrefix = message.boolean();
        break;
      case 4:
        normalizer.removeExtraSpaces = message.boolean();
        break;
      case 5:
        normalizer.escapeSpaces = message.boolean();
        break;
      default:
        message.skip();
    }
  }
}

/** Models of other families use SentencePiece in ways that no Mistral model does. */
function refuseOtherKinds(path: string, trainer: TrainerSpec, normalizer: NormalizerSpec): void {
  const refuse = (found: string, supported: string): never => {
    throw unsupported(path, `a SentencePiece model with ${found}; supported is ${supported}`);
  };
  if (trainer.modelType !== BPE) {
    refuse(`model type ${MODEL_TYPES[trainer.modelType] ?? trainer.modelType}`, 'BPE');
  }
  if (trainer.spaceAsSuffix) refuse('treat_whitespace_as_suffix', 'spaces before words');
  if (normalizer.characterMapBytes > 0) refuse('a normalizer', 'the identity normalizer');
  if (normalizer.removeExtraSpaces) refuse('remove_extra_whitespaces', 'text left as it is');
  if (!normalizer.escapeSpaces) refuse('escape_whitespaces off', 'spaces as U+2581');
}

function checkPieces(path: string, { pieces, types }: Pieces, trainer: TrainerSpec): void {
  if (pieces.length === 0) throw invalid(path, 'not a SentencePiece model: it has no pieces');
  const empty = pieces.indexOf('');
  if (empty >= 0) throw invalid(path, `piece ${empty} is empty`);
  const ids = new Map<string, number>();
  pieces.forEach((piece, id) => {
    const other = ids.get(piece);
    if (other !== undefined)
      throw invalid(path, `pieces ${other} and ${id} are both ${quoted(piece)}`);
    ids.set(piece, id);
  });
  const unknown = types.filter((type) => type === PieceType.UNKNOWN).length;
  if (unknown !== 1) throw invalid(path, `${unknown} unknown pieces; there must be one`);
  const byte = types.indexOf(PieceType.BYTE);
  if (trainer.byteFallback !== byte >= 0) {
    const found = byte < 0 ? 'no byte pieces' : `the byte piece ${quoted(pieces[byte])}`;
    throw invalid(path, `${found} though byte_fallback is ${String(trainer.byteFallback)}`);
  }
}
