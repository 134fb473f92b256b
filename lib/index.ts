/** The public surface; nothing else is exported. */
export {
  encodeChat,
  type ChatEncoding,
  type ChatRequest,
  type ChatTemplate,
} from './chat/encode-chat';
export { fitMessages } from './chat/fit-messages';
export {
  untrusted,
  type Content,
  type Message,
  type TextPart,
  type Tool,
  type ToolCall,
} from './chat/messages';
export { GrammarError, MessagesError, TramontaneError, type TramontaneErrorCode } from './errors';
export type { GptqFacts, SlidingWindow } from './files/checkpoint';
export type { FileUrl } from './files/path';
export type { AbortSignalLike } from './model/abort-signals';
export type {
  FinishReason,
  Generation,
  GenerationChunk,
  GenerationResult,
  GenerationState,
  LogprobInfo,
} from './model/generation';
export type { GenerateOptions } from './model/generate-options';
export type { GptqCacheUse } from './model/gptq-cache';
export { inspect, type Inspection } from './files/inspect';
export { Model, type LogitsOptions } from './model/model';
export type { LoadOptions, LoadProgress } from './model/load-options';
export type { ModelInfo } from './model/model-info';
export type { Prompt } from './model/prompt';
export type { TokenLogprob } from './model/native';
export { loadTokenizer } from './tokenizer/load';
export type { TokenIds } from './tokenizer/token-ids';
export type { Tokenizer } from './tokenizer/tokenizer';
