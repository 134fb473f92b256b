/** The public surface; nothing else is exported. */
export { TramontaneError, type TramontaneErrorCode } from './errors';
export type { GptqFacts } from './files/checkpoint';
export type { Generation, GenerationChunk, GenerationResult, LogprobInfo } from './generation';
export type { GenerateOptions } from './generate-options';
export type { GptqCacheUse } from './gptq-cache';
export { inspect, type Inspection } from './inspect';
export { Model, type LoadOptions, type LoadProgress, type ModelInfo } from './model';
export type { TokenLogprob } from './native';
export { loadTokenizer } from './text/load';
export type { Tokenizer } from './text/tokenizer';
