/**
 * How much of each kind of file is taken: about ten times what the largest real ones have, as far as
 * a process of 1 GB can hold it. More is an INVALID_FILE, found before anything is made of it.
 */

/** Of a GGUF file, a safetensors file or its index; a model of 80 layers in GPTQ has 2,403. */
export const MAX_TENSORS = 65_536;

/** Files that hold the weights of one model. */
export const MAX_FILES = 1000;

/** Of a vocabulary; Mistral's largest has 131,072. */
export const MAX_PIECES = 1_310_720;

/** Of a byte-level vocabulary; the largest known list has 280,147. */
export const MAX_MERGES = 2_800_000;

/** Bytes of tokenizer.model; the largest known has some 5 MB. */
export const MAX_SENTENCEPIECE = 50_000_000;

/** Bytes of chat_template.jinja; the longest known have some 100 KB. */
export const MAX_TEMPLATE = 1_000_000;

/** What a kind of JSON file may have at most. */
export interface JsonLimits {
  readonly bytes: number;
  /** Objects and arrays inside each other. */
  readonly depth: number;
  /** Everything that is a value, objects and arrays included. */
  readonly values: number;
  /** Members of all objects together, such as the pieces of a vocabulary. */
  readonly members: number;
}

/** Real files of all kinds have at most six. */
const DEPTH = 64;

export const JSON_LIMITS = {
  /** config.json and its like: a few KB, up to 100 with the names of all modules. */
  config: { bytes: 1_000_000, depth: DEPTH, values: 20_000, members: 20_000 },
  /** tokenizer_config.json and its like: up to some 7,000 tokens with seven settings each. */
  tokenizerConfig: { bytes: 12_000_000, depth: DEPTH, values: 500_000, members: 500_000 },
  /** tokenizer.json: Tekken's has 17 MB, 131,072 pieces and a million values. */
  tokenizer: { bytes: 100_000_000, depth: DEPTH, values: 4_000_000, members: MAX_PIECES },
  /** The header of a safetensors file: some 140 bytes, 4 members and 9 values a tensor. */
  safetensors: {
    bytes: 256 * MAX_TENSORS,
    depth: DEPTH,
    values: 12 * MAX_TENSORS,
    members: 5 * MAX_TENSORS,
  },
  /** A line of a dataset: a sample, of which a context of 32,768 tokens holds some 130 KB. */
  sample: { bytes: 4_000_000, depth: DEPTH, values: 200_000, members: 200_000 },
  /** model.safetensors.index.json: the file of each tensor. */
  index: {
    bytes: 256 * MAX_TENSORS,
    depth: DEPTH,
    values: 2 * MAX_TENSORS,
    members: 2 * MAX_TENSORS,
  },
} as const satisfies Record<string, JsonLimits>;
