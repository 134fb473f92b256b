/** The public surface; nothing else is exported. */
export { TramontaneError, type TramontaneErrorCode } from './errors';
export type { GptqFacts } from './files/checkpoint';
export type {
  Generation,
  GenerationChunk,
  GenerationResult,
  LogprobInfo,
} from './model/generation';
export type { GenerateOptions } from './model/generate-options';
export type { GptqCacheUse } from './model/gptq-cache';
export { inspect, type Inspection } from './files/inspect';
export { Model, type LoadOptions, type LoadProgress, type ModelInfo } from './model/model';
export type { TokenLogprob } from './model/native';
export { loadTokenizer } from './tokenizer/load';
export type { Tokenizer } from './tokenizer/tokenizer';
