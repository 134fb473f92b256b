/** POST /v1/messages and /v1/messages/count_tokens, in Anthropic's form. */
import type { ChatOptions } from '../../model/chat';
import type { ChatResult, Generation } from '../../model/generation';
import { addRoute, type Call, type Context } from '../context';
import { anthropicError } from '../protocol/anthropic-errors';
import { flag, honoured, inert, refused, text, type Fields } from '../protocol/fields';
import { withRoomForCalls } from '../../chat/history';
import {
  blocksOf,
  messageOf,
  MessageWriter,
  messageUsage,
  stopOf,
  type MessageEvent,
} from '../protocol/message-events';
import {
  messagesConversation,
  messagesTools,
  type MessagesParam,
  type MessagesTool,
  type MessagesToolChoice,
} from '../protocol/message-input';
import {
  EXTRA_FIELDS,
  mostTokens,
  SAMPLING_FIELDS,
  samplingOptions,
  type ResponseFormat,
  type SamplingBody,
} from '../protocol/sampling';
import type { JobOptions } from '../work';
import { aboutChatTokens } from './chat';

const BLOCKS = {
  type: 'array',
  maxItems: 4096,
  items: { type: 'object', required: ['type'], properties: { type: text } },
};

const MESSAGES = {
  type: 'array',
  minItems: 1,
  maxItems: 4096,
  items: {
    type: 'object',
    required: ['role', 'content'],
    properties: {
      role: { enum: ['user', 'assistant'] },
      content: { anyOf: [text, { ...BLOCKS, minItems: 1 }] },
    },
  },
};

const TOOLS = {
  type: 'array',
  maxItems: 128,
  items: {
    type: 'object',
    required: ['name'],
    properties: {
      type: { type: ['string', 'null'] },
      name: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
      description: { type: ['string', 'null'] },
      input_schema: { type: 'object' },
    },
  },
};

const TOOL_CHOICE = {
  type: 'object',
  required: ['type'],
  properties: {
    type: { enum: ['auto', 'any', 'tool', 'none'] },
    name: text,
    disable_parallel_tool_use: { type: ['boolean', 'null'] },
  },
  additionalProperties: false,
};

const FORMAT = {
  type: ['object', 'null'],
  required: ['type', 'schema'],
  properties: { type: { const: 'json_schema' }, schema: { type: 'object' } },
};

const OUTPUT_CONFIG = {
  type: 'object',
  properties: { format: FORMAT, effort: { type: ['string', 'null'] } },
  additionalProperties: false,
};

/** Of both routes. */
const PROMPT_FIELDS: Fields = {
  model: honoured('A name of a model; may be left out where there is one.', text),
  messages: honoured(
    "The conversation: texts, and blocks text, tool_use and tool_result, whose is_error is the text's to say. An assistant's that is the last is continued.",
    MESSAGES,
  ),
  system: honoured('A system message before all others.', { anyOf: [text, BLOCKS] }),
  tools: honoured('Functions the model may call.', TOOLS),
  tool_choice: honoured('Whether it calls, or what.', TOOL_CHOICE),
  output_config: honoured('format: JSON by a schema. effort changes nothing.', OUTPUT_CONFIG),
  thinking: refused('the models do not think beforehand.', { type: 'disabled' }),
  context_management: refused('conversations are not shortened.'),
  mcp_servers: refused('tools are called by the client.', []),
  cache_control: inert('Prompts that begin alike share their start anyway.', { type: 'object' }),
};

export const MESSAGES_FIELDS: Fields = {
  ...PROMPT_FIELDS,
  max_tokens: honoured('Most tokens of the answer.', { type: 'integer', minimum: 1 }),
  stop_sequences: honoured('Up to 64 texts that end the answer.', {
    type: 'array',
    items: text,
    maxItems: 64,
  }),
  stream: honoured('Events instead of one answer.', flag),
  ...Object.fromEntries(
    Object.entries(SAMPLING_FIELDS).filter(([name]) => name !== 'stop' && name !== 'user'),
  ),
  ...EXTRA_FIELDS,
  container: refused('nothing is kept.'),
  diagnostics: refused('earlier answers are not kept to be compared with.'),
  speed: inert('There is one.', text),
  metadata: inert('Not looked at.', { type: 'object' }),
  service_tier: inert('There is one.', text),
  inference_geo: inert('There is one place.', text),
};

interface PromptBody {
  readonly model?: string;
  readonly messages: readonly MessagesParam[];
  readonly system?: string | readonly Readonly<Record<string, unknown>>[];
  readonly tools?: readonly MessagesTool[];
  readonly tool_choice?: MessagesToolChoice;
  readonly output_config?: { readonly format?: { readonly schema: object } | null };
}

interface MessagesBody extends PromptBody, SamplingBody {
  readonly max_tokens: number;
  readonly stop_sequences?: readonly string[];
  readonly stream?: boolean;
}

function optionsOf(body: MessagesBody, { context }: Call): ChatOptions {
  const { tools = [], tool_choice: choice, stop_sequences: stop, output_config: output } = body;
  const schema = output?.format?.schema;
  const responseFormat: ResponseFormat | undefined = schema && {
    type: 'json_schema',
    json_schema: { name: 'answer', schema },
  };
  const sampling = { ...body, ...(stop && { stop }) };
  return {
    ...samplingOptions(sampling, { responseFormat }),
    ...messagesTools(tools, choice, context.settings.lenient),
    ...mostTokens(body.max_tokens, context.settings),
  };
}

async function respond(body: MessagesBody, call: Call): Promise<object | undefined> {
  const { models, settings } = call.context;
  const served = models.find(body.model);
  const { model, name } = served;
  const conversation = messagesConversation(body.messages, body.system, settings.lenient);
  const messages = withRoomForCalls(conversation.messages, model);
  const options = optionsOf(body, call);
  const stops = body.stop_sequences ?? [];
  let generation: Generation | undefined;
  const job = {
    promptTokens: aboutChatTokens(messages, options.tools),
    start: (shared: JobOptions) => (generation = model.chat(messages, { ...options, ...shared })),
  };
  const events = conversation.wordedEvents(call.work(served).run([job]));

  if (body.stream !== true) {
    let written = '';
    let whole: ChatResult | undefined;
    for await (const { chunk, result } of events) {
      written += chunk?.text ?? '';
      if (result) whole = result as ChatResult;
    }
    const content = blocksOf(whole!, written);
    return { ...messageOf(name), content, ...stopOf(whole!, stops), usage: messageUsage(whole!) };
  }
  const writer = new MessageWriter(messageOf(name), stops);
  return call.stream(
    async (stream) => {
      const send = async (list: readonly MessageEvent[]): Promise<void> => {
        for (const event of list) await stream.send(event, event.type);
      };
      let begun = false;
      for await (const { chunk, result } of events) {
        if (!begun) await send(writer.begin(generation!.toJSON().promptTokens));
        begun = true;
        if (chunk) await send(writer.push(chunk));
        if (result) await send(writer.end(result as ChatResult));
      }
    },
    (error) => ({ data: anthropicError(error, call.request.id), event: 'error' }),
  );
}

// eslint-disable-next-line @typescript-eslint/require-await
async function countTokens(body: PromptBody, call: Call): Promise<object> {
  const { models, settings } = call.context;
  const { model } = models.find(body.model);
  const conversation = messagesConversation(body.messages, body.system, settings.lenient);
  const { tools } = messagesTools(body.tools ?? [], body.tool_choice, settings.lenient);
  return { input_tokens: conversation.countTokens(model, tools) };
}

export function messageRoutes(context: Context): void {
  addRoute<MessagesBody>(context, {
    path: '/v1/messages',
    summary: "Answers conversations in Anthropic's form.",
    fields: MESSAGES_FIELDS,
    operation: 'chat',
    required: ['messages', 'max_tokens'],
    errorBody: anthropicError,
    answer: respond,
  });
  addRoute<PromptBody>(context, {
    path: '/v1/messages/count_tokens',
    summary: 'The tokens of a conversation.',
    fields: PROMPT_FIELDS,
    required: ['messages'],
    errorBody: anthropicError,
    answer: countTokens,
  });
}
