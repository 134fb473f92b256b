import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3GenerateResult,
  LanguageModelV3StreamPart,
  LanguageModelV3Usage,
  SharedV3Warning,
} from '@ai-sdk/provider';
import type { AnsweredCall } from '../chat/tool-calls';
import type { ChatOptions } from '../model/chat';
import type { ChatResult, Generation } from '../model/generation';
import type { Model } from '../model/model';
import type { JsonSchema } from '../model/schema';
import { historyOf } from '../chat/history';
import { messagesOf } from './prompt';

export interface ModelOptions {
  /** What the SDK's results and telemetry call it. @default the name in the model's file */
  readonly modelId?: string;
}

/** Its name, in results, in telemetry, and of its own options. */
const PROVIDER = 'tramontane';

/**
 * A loaded model for `generateText()`, `streamText()` and agents of the AI SDK (`ai` 6), which calls
 * `chat()` of it: with tools, JSON by a schema, abort and usage. Texts alone are read. Options of
 * `chat()` that the SDK has no name for are given as `providerOptions: { tramontane: { minP: 0.05 } }`.
 *
 * Errors are TramontaneErrors, which the SDK does not try again. The model stays the caller's, to be
 * disposed when it is no longer used.
 * @example
 * ```ts
 * const model = languageModel(await Model.load('Mistral-7B-Instruct-v0.3.Q4_K_M.gguf'));
 * const { textStream } = streamText({ model, prompt: 'What is the mistral?' });
 * ```
 */
export function languageModel(model: Model, options: ModelOptions = {}): LanguageModelV3 {
  return {
    specificationVersion: 'v3',
    provider: PROVIDER,
    modelId: options.modelId ?? model.info.name ?? PROVIDER,
    supportedUrls: {},
    doGenerate: async (call) => await generate(model, call),
    // What is wrong with a call rejects it, before there is a stream.
    doStream: (call) =>
      new Promise((resolve) => {
        const parts = stream(start(model, call), warningsOf(call), call.abortSignal);
        resolve({ stream: ReadableStream.from(parts) });
      }),
  };
}

type Chat = Generation<unknown, ChatResult>;

function start(model: Model, call: LanguageModelV3CallOptions): Chat {
  return model.chat(historyOf(messagesOf(call.prompt), model), chatOptions(call));
}

function chatOptions(call: LanguageModelV3CallOptions): ChatOptions {
  const { responseFormat, toolChoice } = call;
  const tools = call.tools?.filter((tool) => tool.type === 'function');
  return {
    maxTokens: call.maxOutputTokens,
    temperature: call.temperature,
    topP: call.topP,
    topK: call.topK,
    presencePenalty: call.presencePenalty,
    frequencyPenalty: call.frequencyPenalty,
    seed: call.seed,
    stop: call.stopSequences,
    signal: call.abortSignal,
    json: responseFormat?.type === 'json' ? jsonSchema(responseFormat.schema) : undefined,
    tools: tools?.map(({ name, description, inputSchema }) => ({
      function: {
        name,
        ...(description !== undefined && { description }),
        parameters: inputSchema,
      },
    })),
    toolChoice: toolChoice?.type === 'tool' ? { name: toolChoice.toolName } : toolChoice?.type,
    ...(call.providerOptions?.[PROVIDER] as ChatOptions | undefined),
  };
}

/** Any object, where there is no schema. */
function jsonSchema(schema: object | undefined): JsonSchema {
  return (schema ?? { type: 'object' }) as JsonSchema;
}

function warningsOf({ tools = [] }: LanguageModelV3CallOptions): SharedV3Warning[] {
  return tools
    .filter((tool) => tool.type === 'provider')
    .map(({ id }) => ({ type: 'unsupported', feature: `tool ${id}` }));
}

async function generate(
  model: Model,
  call: LanguageModelV3CallOptions,
): Promise<LanguageModelV3GenerateResult> {
  const result = await start(model, call).result();
  call.abortSignal?.throwIfAborted();
  const { content, tool_calls: calls = [] } = result.message;
  const text: LanguageModelV3Content[] = content ? [{ type: 'text', text: content }] : [];
  return {
    content: [...text, ...calls.map(toolCall)],
    finishReason: finishReason(result),
    usage: usageOf(result),
    warnings: warningsOf(call),
  };
}

/** Leaving it ends the generation. */
async function* stream(
  chat: Chat,
  warnings: SharedV3Warning[],
  signal: AbortSignal | undefined,
): AsyncGenerator<LanguageModelV3StreamPart, void, undefined> {
  yield { type: 'stream-start', warnings };
  const text = { id: 'text', begun: false };
  const ids: string[] = []; // Of calls, by their index.
  for await (const chunk of chat) {
    if (chunk.text !== '') {
      if (!text.begun) yield { type: 'text-start', id: text.id };
      text.begun = true;
      yield { type: 'text-delta', id: text.id, delta: chunk.text };
    }
    for (const { index, id = ids[index]!, name, arguments: delta } of chunk.toolCalls ?? []) {
      ids[index] = id;
      if (name !== undefined) yield { type: 'tool-input-start', id, toolName: name };
      if (delta !== '') yield { type: 'tool-input-delta', id, delta };
    }
  }
  if (text.begun) yield { type: 'text-end', id: text.id };
  const result = await chat.result();
  signal?.throwIfAborted();
  for (const id of ids) yield { type: 'tool-input-end', id };
  yield* (result.message.tool_calls ?? []).map(toolCall);
  yield { type: 'finish', finishReason: finishReason(result), usage: usageOf(result) };
}

function toolCall({ id, function: { name, arguments: input } }: AnsweredCall) {
  return { type: 'tool-call', toolCallId: id, toolName: name, input: input } as const;
}

function finishReason({ finishReason, message }: ChatResult): LanguageModelV3FinishReason {
  const called = message.tool_calls !== undefined && finishReason === 'stop';
  const unified = called ? 'tool-calls' : FINISH[finishReason];
  return { unified, raw: finishReason };
}

const FINISH = {
  stop: 'stop',
  length: 'length',
  refused: 'content-filter',
  aborted: 'other',
} as const;

function usageOf({ usage }: ChatResult): LanguageModelV3Usage {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  return {
    inputTokens: {
      total: promptTokens,
      noCache: promptTokens - cachedTokens,
      cacheRead: cachedTokens,
      cacheWrite: undefined,
    },
    outputTokens: { total: completionTokens, text: completionTokens, reasoning: 0 },
  };
}
