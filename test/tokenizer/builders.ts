/** Small tokenizer files, made by hand. */
import type { JsonFile } from '../../lib/files/json';
import type {
  GgufTokenizer,
  SentencePieceFile,
  TokenizerJsonFile,
} from '../../lib/files/tokenizer-source';
import { PieceType } from '../../lib/tokenizer/vocabulary';

export interface Piece {
  readonly piece: string;
  readonly score?: number;
  readonly type?: number;
}

/** `<unk>`, `<s>`, `</s>` and the 256 bytes: ids 0 to 258. */
export function basePieces(): Piece[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    piece: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    type: PieceType.BYTE,
  }));
  return [
    { piece: '<unk>', type: PieceType.UNKNOWN },
    { piece: '<s>', type: PieceType.CONTROL },
    { piece: '</s>', type: PieceType.CONTROL },
    ...bytes,
  ];
}

/** The id of the byte piece. */
export function byteId(byte: number): number {
  return 3 + byte;
}

/** The id of the first piece after {@link basePieces}. */
export const FIRST = 259;

export function ggufSource(
  extra: readonly Piece[],
  changes: Partial<GgufTokenizer> = {},
): GgufTokenizer {
  const pieces = [...basePieces(), ...extra];
  return {
    kind: 'gguf',
    path: 'small.gguf',
    model: 'llama',
    pieces: pieces.map(({ piece }) => piece),
    scores: Float32Array.from(pieces, ({ score }) => score ?? 0),
    types: Int32Array.from(pieces, ({ type }) => type ?? PieceType.NORMAL),
    bosId: 1,
    eosId: 2,
    ...changes,
  };
}

export interface SentencePieceSpec {
  readonly pieces: readonly Piece[];
  /** Fields of TrainerSpec and NormalizerSpec by number: a number or boolean, or bytes. */
  readonly trainer?: Readonly<Record<number, number | string>>;
  readonly normalizer?: Readonly<Record<number, number | string>>;
}

/** As Mistral's are: BPE, byte fallback, extra spaces kept. */
const TRAINER = { 3: 2, 35: 1 };
const NORMALIZER = { 4: 0 };

export function sentencePieceSource(
  spec: SentencePieceSpec,
  changes: Partial<SentencePieceFile> = {},
): SentencePieceFile {
  const messages = spec.pieces.map(({ piece, score, type }) => {
    const score32 = Buffer.alloc(4);
    score32.writeFloatLE(score ?? 0);
    return bytesField(
      1,
      Buffer.concat([
        bytesField(1, Buffer.from(piece)),
        varint(2 * 8 + 5),
        score32,
        ...(type === undefined ? [] : [varint(3 * 8), varint(type)]),
      ]),
    );
  });
  const bytes = Buffer.concat([
    ...messages,
    bytesField(2, fields({ ...TRAINER, ...spec.trainer })),
    bytesField(3, fields({ ...NORMALIZER, ...spec.normalizer })),
  ]);
  return { kind: 'sentencepiece', path: 'small.model', bytes, ...changes };
}

function fields(values: Readonly<Record<number, number | string>>): Buffer {
  return Buffer.concat(
    Object.entries(values).map(([field, value]) =>
      typeof value === 'string'
        ? bytesField(Number(field), Buffer.from(value))
        : Buffer.concat([varint(Number(field) * 8), varint(value)]),
    ),
  );
}

export function bytesField(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
}

/** Negative numbers take ten bytes, as in the format. */
export function varint(value: number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A tokenizer.json, as a tree that tests change before they write it. */
export interface TokenizerJson {
  added_tokens: Record<string, unknown>[];
  normalizer: unknown;
  pre_tokenizer: unknown;
  post_processor: unknown;
  decoder: unknown;
  model: Record<string, unknown> & { vocab: Record<string, number>; merges: unknown[] };
}

/** Merges "a b", "ab c" over the letters a, b, c, with the Prepend normalizer and no bytes. */
export function smallJson(): TokenizerJson {
  return {
    added_tokens: [
      { id: 0, content: '<unk>', special: true, normalized: false },
      { id: 1, content: '<s>', special: true, normalized: false },
      { id: 2, content: '</s>', special: true, normalized: false },
    ],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: false,
      vocab: { '<unk>': 0, '<s>': 1, '</s>': 2, '▁': 3, a: 4, b: 5, c: 6, ab: 7, abc: 8 },
      merges: ['a b', ['ab', 'c']],
    },
  };
}

export function jsonSource(json: unknown, config?: unknown): TokenizerJsonFile {
  const source = {
    kind: 'tokenizer.json',
    path: 'small.json',
    bytes: Buffer.from(JSON.stringify(json)),
  } as const;
  return config === undefined ? source : { ...source, config: configFile(config) };
}

/** A tokenizer_config.json, of a value or of text as it is. */
export function configFile(content: unknown): JsonFile {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return { path: 'tokenizer_config.json', bytes: Buffer.from(text) };
}

/** A byte-level GGUF vocabulary: `<eos>`, the 256 bytes as GPT-2 writes them, then merges' results. */
export function byteLevelSource(
  merges: readonly string[],
  changes: Partial<GgufTokenizer> = {},
): GgufTokenizer {
  const printable = (byte: number): boolean =>
    (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  const shifted = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !printable(byte));
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : 0x100 + shifted.indexOf(byte)),
  );
  const pieces = ['<eos>', ...letters, ...new Set(merges.map((merge) => merge.replace(' ', '')))];
  return {
    kind: 'gguf',
    path: 'bytes.gguf',
    model: 'gpt2',
    pieces,
    types: Int32Array.from(pieces, (_, id) => (id === 0 ? PieceType.CONTROL : PieceType.NORMAL)),
    merges,
    eosId: 0,
    ...changes,
  };
}
