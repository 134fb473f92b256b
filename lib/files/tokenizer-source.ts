/** A tokenizer's data as it lies in a file, before it is checked and indexed. */
export type TokenizerSource = GgufTokenizer | SentencePieceFile | TokenizerJsonFile;

/** The `tokenizer.ggml.*` keys of a GGUF file. Array lengths are not yet checked against each other. */
export interface GgufTokenizer {
  readonly kind: 'gguf';
  /** For messages. */
  readonly path: string;
  /** `llama`: SentencePiece BPE, merged by score. `gpt2`: byte-level BPE, merged by rank. */
  readonly model: string;
  /** Name of the pre-tokenizer's split rule (`gpt2` only). */
  readonly pre?: string;
  readonly pieces: readonly string[];
  readonly scores?: Float32Array;
  /** 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly types?: Int32Array;
  readonly merges?: readonly string[];
  readonly bosId?: number;
  readonly eosId?: number;
  readonly unknownId?: number;
  readonly addBos?: boolean;
  readonly addSpacePrefix?: boolean;
}

/**
 * A SentencePiece model: the bytes of `tokenizer.model`, a protocol buffer, with the
 * `tokenizer_config.json` beside it where there is one: fine-tunes add their tokens there.
 */
export interface SentencePieceFile {
  readonly kind: 'sentencepiece';
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly config?: string;
}

/** A Hugging Face `tokenizer.json`, with the `tokenizer_config.json` beside it where there is one. */
export interface TokenizerJsonFile {
  readonly kind: 'tokenizer.json';
  readonly path: string;
  readonly text: string;
  readonly config?: string;
}
