/** The public surface; nothing else is exported. */
export {
  encodeChat,
  type ChatEncoding,
  type ChatRequest,
  type ChatTemplate,
} from './chat/encode-chat';
export type { ToolChoice } from './chat/call-grammar';
export { fitMessages } from './chat/fit-messages';
export type { ValidationMode } from './chat/mistral-rules';
export {
  untrusted,
  type Content,
  type Message,
  type TextPart,
  type Tool,
  type ToolCall,
} from './chat/messages';
export {
  GrammarError,
  MessagesError,
  OutputError,
  TramontaneError,
  type TramontaneErrorCode,
} from './errors';
export type { GptqFacts, SlidingWindow } from './files/checkpoint';
export type { FileUrl } from './files/path';
export { Adapter, type AdapterInfo, type AdapterOptions, type AdapterUse } from './model/adapter';
export type { AbortSignalLike } from './model/abort-signals';
export type { AnsweredCall, ToolCallDelta } from './chat/tool-calls';
export type { ChatOptions, ChatPromptOptions, ChatTool } from './model/chat';
export type {
  AssistantMessage,
  ChatResult,
  FinishReason,
  Generation,
  GenerationChunk,
  GenerationResult,
  GenerationState,
  LogprobInfo,
  Refusal,
} from './model/generation';
export type { GenerateOptions } from './model/generate-options';
export { estimateMemory, type MemoryEstimate, type MemoryOptions } from './model/estimate-memory';
export { compileGrammar, type Grammar, type GrammarSource } from './model/grammar';
export type { GptqCacheUse } from './model/gptq-cache';
export { pull, type PullOptions, type PullProgress } from './hub/public';
export { inspect, type Inspection } from './files/inspect';
export { Model, type LogitsOptions } from './model/model';
export type { LoadOptions, LoadProgress } from './model/load-options';
export type { GuardOptions, GuardSide } from './model/guard';
export type { ModelInfo } from './model/model-info';
export type { Moderation, ModerationOptions, ModerationResult } from './model/moderation';
export { DEFAULT_POLICY, NOT_MODERATED, type PolicyLabel } from './model/moderation-policy';
export type { Prompt } from './model/prompt';
export type { Infer, JsonSchema, Schema, StandardSchema } from './model/schema';
export type { TokenLogprob } from './model/native';
export type { Evaluation, TrainOptions, TrainingStep } from './train/options';
export type { TrainingDataset, TrainingMessage, TrainingSample } from './train/samples';
export type { TrainResult } from './train/train';
export type { TargetModule } from './train/lora';
export { loadTokenizer } from './tokenizer/load';
export type { TokenIds } from './tokenizer/token-ids';
export type { Tokenizer } from './tokenizer/tokenizer';
