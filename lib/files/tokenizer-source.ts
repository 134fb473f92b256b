import type { JsonFile } from './json';

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
  readonly addBos?: boolean;
  readonly addSpacePrefix?: boolean;
}

/**
 * Files beside `tokenizer.model` or `tokenizer.json` that say more of the tokenizer, those that are
 * there: fine-tunes add their tokens in them.
 */
export interface TokenizerSiblings {
  /** `tokenizer_config.json`: added tokens by id, sequence tokens, whether a prompt starts with BOS. */
  readonly config?: JsonFile;
  /** `added_tokens.json` of older files: ids of added tokens, `{"<|im_end|>": 32000}`. */
  readonly addedTokens?: JsonFile;
  /** `special_tokens_map.json` of older files: which pieces are `bos_token`, `eos_token` and others. */
  readonly specialTokens?: JsonFile;
}

/** A SentencePiece model: the bytes of `tokenizer.model`, a protocol buffer. */
export interface SentencePieceFile extends TokenizerSiblings {
  readonly kind: 'sentencepiece';
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A Hugging Face `tokenizer.json`. */
export interface TokenizerJsonFile extends TokenizerSiblings {
  readonly kind: 'tokenizer.json';
  readonly path: string;
  readonly bytes: Uint8Array;
}
