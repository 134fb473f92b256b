/** POST /v1/chat/completions */
import type { Message } from '../../chat/messages';
import type { ChatOptions, ChatTool } from '../../model/chat';
import type { ChatResult, GenerationChunk, LogprobInfo } from '../../model/generation';
import { addRoute, newId, unixTime, type Call, type Context } from '../context';
import { callDeltas, WholeCalls, type CallDeltas } from '../protocol/call-deltas';
import { historyOf } from '../../chat/history';
import type { Served } from '../models';
import { badField } from '../protocol/errors';
import { flag, honoured, inert, integer, refused, text, type Fields } from '../protocol/fields';
import { chatLogprobs } from '../protocol/logprobs';
import {
  EXTRA_FIELDS,
  mostTokens,
  RESPONSE_FORMAT,
  SAMPLING_FIELDS,
  samplingOptions,
  type ResponseFormat,
  type SamplingBody,
} from '../protocol/sampling';
import { finishReason, usageOf } from '../protocol/usage';
import { aboutTokens, type Job, type JobOptions } from '../work';
import { STREAM_OPTIONS } from './completions';

const MOST_CHOICES = 128;

/** What a message looks like; its rules are the chat format's. */
const MESSAGES = {
  type: 'array',
  minItems: 1,
  maxItems: 4096,
  items: {
    type: 'object',
    required: ['role'],
    properties: {
      role: { enum: ['system', 'developer', 'user', 'assistant', 'tool'] },
      name: text,
      prefix: flag,
      tool_call_id: text,
    },
  },
};

export const TOOLS = {
  type: 'array',
  maxItems: 128,
  items: {
    type: 'object',
    required: ['type', 'function'],
    properties: {
      type: { const: 'function' },
      function: {
        type: 'object',
        required: ['name'],
        properties: {
          name: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
          description: text,
          parameters: { type: 'object' },
          strict: { type: ['boolean', 'null'] },
        },
      },
    },
  },
};

const TOOL_CHOICE = {
  anyOf: [
    { enum: ['none', 'auto', 'required', 'any'] },
    {
      type: 'object',
      required: ['type', 'function'],
      properties: {
        type: { const: 'function' },
        function: { type: 'object', required: ['name'], properties: { name: text } },
      },
    },
  ],
};

export const CHAT_FIELDS: Fields = {
  model: honoured('A name of a model; may be left out where there is one.', text),
  messages: honoured('The conversation; text alone.', MESSAGES),
  max_tokens: honoured("Most tokens of the answer; the context's rest where it is left out.", {
    type: 'integer',
    minimum: 1,
  }),
  max_completion_tokens: honoured('The newer name of max_tokens.', {
    type: 'integer',
    minimum: 1,
  }),
  n: honoured('Answers.', integer(1, MOST_CHOICES)),
  logprobs: honoured('Log-probabilities of the tokens.', flag),
  top_logprobs: honoured('And of so many alternatives.', integer(0, 20)),
  response_format: honoured('JSON, by a schema or any.', RESPONSE_FORMAT),
  tools: honoured('Functions the model may call.', TOOLS),
  tool_choice: honoured('Whether it calls; `any` is `required`.', TOOL_CHOICE),
  parallel_tool_calls: honoured('Whether an answer may have several calls.', flag),
  stream: honoured('Events instead of one answer.', flag),
  stream_options: honoured('include_usage.', STREAM_OPTIONS),
  ...SAMPLING_FIELDS,
  ...EXTRA_FIELDS,
  safe_prompt: honoured("Mistral's guarding system prompt first.", flag),
  functions: refused('use tools.'),
  function_call: refused('use tool_choice.', 'none', 'auto'),
  modalities: refused('answers are text.', ['text']),
  audio: refused('answers are text.'),
  web_search_options: refused('there is no web search.'),
  prediction: refused('answers are not predicted.'),
  guardrails: refused('ask /v1/moderations.'),
  prompt_mode: refused('the models do not reason beforehand.'),
  reasoning_effort: refused('the models do not reason beforehand.', 'none'),
  moderation: refused('ask /v1/moderations.'),
  service_tier: inert('There is one.', text),
  store: refused('nothing is kept.', false),
  metadata: inert('Nothing is kept.', { type: 'object' }),
  verbosity: inert('Say it in the conversation.', text),
  safety_identifier: inert('Not looked at.', text),
  prompt_cache_key: inert('Prompts that begin alike share their start anyway.', text),
  prompt_cache_retention: inert('The newest stay.', text),
  prompt_cache_options: inert('The newest stay.', { type: 'object' }),
};

export interface ChatBody extends SamplingBody {
  readonly model?: string;
  readonly messages: readonly Message[];
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
  readonly n?: number;
  readonly logprobs?: boolean;
  readonly top_logprobs?: number;
  readonly response_format?: ResponseFormat;
  readonly tools?: readonly ChatTool[];
  readonly tool_choice?: string | { readonly function: { readonly name: string } };
  readonly parallel_tool_calls?: boolean;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly safe_prompt?: boolean;
}

function toolChoice(choice: ChatBody['tool_choice']): ChatOptions['toolChoice'] {
  if (typeof choice === 'object') return { name: choice.function.name };
  return choice === 'any' ? 'required' : (choice as 'auto' | 'none' | 'required' | undefined);
}

/** Characters of a conversation and its tools, a quarter of which are about its tokens. */
export function aboutChatTokens(...parts: readonly unknown[]): number {
  return aboutTokens(JSON.stringify(parts));
}

function jobsOf(body: ChatBody, { model }: Served, call: Call): readonly Job[] {
  const { n = 1, logprobs = false, top_logprobs: top, response_format: responseFormat } = body;
  if (top !== undefined && !logprobs) {
    throw badField('top_logprobs', 'top_logprobs goes with logprobs: true');
  }
  const { tools, safe_prompt: safePrompt } = body;
  const messages = historyOf(body.messages, model);
  const chosen = toolChoice(body.tool_choice);
  if (!tools?.length && chosen !== undefined && chosen !== 'auto' && chosen !== 'none') {
    throw badField('tool_choice', 'tool_choice goes with tools');
  }
  // A tool that is named is called once.
  const parallelToolCalls = typeof chosen === 'object' ? false : body.parallel_tool_calls;
  const shape = {
    ...(tools && tools.length > 0 && { tools, ...(chosen && { toolChoice: chosen }) }),
    ...(tools && parallelToolCalls !== undefined && { parallelToolCalls }),
    ...(safePrompt !== undefined && { safePrompt }),
    ...(logprobs && { logprobs: top ?? 0 }),
    ...mostTokens(body.max_completion_tokens ?? body.max_tokens, call.context.settings),
  };
  const promptTokens = aboutChatTokens(messages, tools);
  return Array.from({ length: n }, (_, choice) => {
    const options = {
      ...samplingOptions(body, { responseFormat, choice }),
      ...shape,
    };
    return {
      promptTokens,
      start: (job: JobOptions) => model.chat(messages, { ...options, ...job }),
    };
  });
}

/** Named tools end with `stop`, others with `tool_calls`; what was cut off is cut off first. */
function chatFinishReason(reason: string, calls: boolean, body: ChatBody): string {
  return reason === 'stop' && calls && typeof body.tool_choice !== 'object' ? 'tool_calls' : reason;
}

async function chat(body: ChatBody, call: Call): Promise<object | undefined> {
  const served = call.context.models.find(body.model);
  const { tokenizer } = served.model;
  const { logprobs = false, stream: streams = false } = body;
  const jobs = jobsOf(body, served, call);
  const events = call.work(served).run(jobs);
  const head = {
    id: newId('chatcmpl-'),
    created: unixTime(),
    model: served.name,
    system_fingerprint: served.fingerprint,
  };
  const results: ChatResult[] = [];

  if (!streams) {
    const infos: LogprobInfo[][] = jobs.map(() => []);
    const calls = jobs.map(() => new WholeCalls());
    for await (const { index, chunk, result } of events) {
      infos[index]!.push(...(chunk?.logprobs ?? []));
      calls[index]!.next(chunk?.toolCalls ?? []);
      if (result) results[index] = result as ChatResult;
    }
    const choices = results.map(({ message, finishReason: reason }, index) => ({
      index,
      message: {
        refusal: null,
        ...message,
        ...(reason === 'length' && calls[index]!.begun(message.content)),
      },
      logprobs: logprobs ? chatLogprobs(tokenizer, infos[index]!) : null,
      finish_reason: chatFinishReason(finishReason(reason), message.tool_calls !== undefined, body),
    }));
    return { ...head, object: 'chat.completion', choices, usage: usageOf(results) };
  }

  const usage = body.stream_options?.include_usage === true ? { usage: null } : {};
  const chunkHead = { ...head, object: 'chat.completion.chunk' };
  const begun = new Map<number, CallDeltas>();
  const called = new Set<number>();
  return call.stream(async (stream) => {
    const send = (index: number, delta: object, more: object = {}) =>
      stream.send({
        ...chunkHead,
        choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }],
        ...usage,
      });
    const sendChunk = async (index: number, chunk: GenerationChunk): Promise<void> => {
      const infos = chunk.logprobs ?? [];
      const more = logprobs ? { logprobs: chatLogprobs(tokenizer, infos) } : {};
      let calls = begun.get(index);
      if (calls === undefined) {
        calls = callDeltas(call.request.headers);
        begun.set(index, calls);
        await send(index, { role: 'assistant', content: '', refusal: null });
      }
      if (chunk.toolCalls !== undefined && chunk.toolCalls.length > 0) called.add(index);
      for (const delta of calls.next(chunk.toolCalls ?? [])) {
        await send(index, { tool_calls: [delta] });
      }
      if (chunk.text !== '' || infos.length > 0) await send(index, { content: chunk.text }, more);
      if (chunk.finishReason === undefined) return;
      const rest = calls.rest();
      if (rest.length > 0) await send(index, { tool_calls: rest });
      const reason = finishReason(chunk.finishReason);
      await send(index, {}, { finish_reason: chatFinishReason(reason, called.has(index), body) });
    };
    for await (const { index, chunk, result } of events) {
      if (chunk) await sendChunk(index, chunk);
      if (result) results[index] = result as ChatResult;
    }
    if ('usage' in usage) {
      await stream.send({ ...chunkHead, choices: [], usage: usageOf(results) });
    }
    await stream.send('[DONE]');
  });
}

export function chatRoutes(context: Context): void {
  addRoute<ChatBody>(context, {
    path: '/v1/chat/completions',
    summary: 'Answers conversations.',
    fields: CHAT_FIELDS,
    operation: 'chat',
    required: ['messages'],
    promptField: 'messages',
    answer: chat,
  });
}
