/**
 * POST /v1/responses and /v1/responses/input_tokens, without a store: each request has all of its
 * conversation.
 */
import type { ChatOptions } from '../../model/chat';
import type { ChatResult } from '../../model/generation';
import { addRoute, type Call, type Context } from '../context';
import { badField } from '../protocol/errors';
import { flag, honoured, inert, integer, refused, text, type Fields } from '../protocol/fields';
import { withRoomForCalls } from '../../chat/history';
import { ResponseWriter, type ResponseEvent } from '../protocol/response-events';
import {
  responseConversation,
  responseFormatOf,
  responseTools,
  type FunctionTool,
  type ResponseToolChoice,
  type TextFormat,
} from '../protocol/response-input';
import {
  EXTRA_FIELDS,
  mostTokens,
  SAMPLING_FIELDS,
  samplingOptions,
  type SamplingBody,
} from '../protocol/sampling';
import { ClientGone, type JobOptions } from '../work';
import { aboutChatTokens } from './chat';

const LOGPROBS = 'message.output_text.logprobs';

const INPUT = {
  anyOf: [text, { type: 'array', minItems: 1, maxItems: 4096, items: { type: 'object' } }],
};

const TOOLS = {
  type: 'array',
  maxItems: 128,
  items: {
    type: 'object',
    required: ['type'],
    properties: {
      type: text,
      name: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
      description: { type: ['string', 'null'] },
      parameters: { type: ['object', 'null'] },
      strict: { type: ['boolean', 'null'] },
    },
  },
};

const TOOL_CHOICE = {
  anyOf: [
    { enum: ['none', 'auto', 'required'] },
    {
      type: 'object',
      required: ['type'],
      properties: {
        type: text,
        name: text,
        mode: { enum: ['auto', 'required'] },
        tools: { type: 'array', maxItems: 128, items: { type: 'object' } },
      },
    },
  ],
};

const TEXT = {
  type: 'object',
  properties: {
    format: {
      type: ['object', 'null'],
      required: ['type'],
      properties: {
        type: { enum: ['text', 'json_object', 'json_schema'] },
        name: { type: 'string', maxLength: 64 },
        description: text,
        schema: { type: ['object', 'boolean'] },
        strict: { type: ['boolean', 'null'] },
      },
      additionalProperties: false,
    },
    verbosity: { type: ['string', 'null'] },
  },
  additionalProperties: false,
};

const METADATA = {
  type: 'object',
  maxProperties: 16,
  additionalProperties: { type: 'string', maxLength: 512 },
};

/** Of both routes. */
export const RESPONSE_PROMPT_FIELDS: Fields = {
  model: honoured('A name of a model; may be left out where there is one.', text),
  input: honoured(
    'A text, or items: message, function_call and function_call_output; text alone.',
    INPUT,
  ),
  instructions: honoured('A system message before all others.', text),
  text: honoured('format: JSON, by a schema or any. verbosity changes nothing.', TEXT),
  tools: honoured('Functions the model may call.', TOOLS),
  tool_choice: honoured(
    'Whether it calls, or what; of allowed_tools only those are offered.',
    TOOL_CHOICE,
  ),
  parallel_tool_calls: honoured('Whether an answer may have several calls.', flag),
  previous_response_id: refused('nothing is kept; send the whole conversation as input.'),
  conversation: refused('nothing is kept; send the whole conversation as input.'),
  truncation: refused('a conversation that is too long is an error.', 'disabled'),
  reasoning: refused(
    'the models do not reason beforehand.',
    {},
    { effort: null },
    { effort: 'none' },
    { effort: null, summary: null },
  ),
  personality: refused('the models have none to choose; say it in the instructions.'),
};

export const RESPONSES_FIELDS: Fields = {
  ...RESPONSE_PROMPT_FIELDS,
  max_output_tokens: honoured(
    "Most tokens of the answer; the context's rest where it is left out.",
    { type: 'integer', minimum: 1 },
  ),
  include: honoured(`${LOGPROBS}; the others are of tools that there are not.`, {
    type: 'array',
    items: {
      enum: [
        LOGPROBS,
        'code_interpreter_call.outputs',
        'computer_call_output.output.image_url',
        'file_search_call.results',
        'message.input_image.image_url',
        'reasoning.encrypted_content',
        'web_search_call.action.sources',
        'web_search_call.results',
      ],
    },
  }),
  top_logprobs: honoured(`Alternatives of each token, with ${LOGPROBS}.`, integer(0, 20)),
  metadata: honoured('Given back.', METADATA),
  stream: honoured('Events instead of one answer.', flag),
  ...SAMPLING_FIELDS,
  ...EXTRA_FIELDS,
  background: refused('answers are not kept to be fetched.', false),
  store: refused('nothing is kept.', false),
  prompt: refused('there are no stored prompts.'),
  context_management: refused('conversations are not shortened.', []),
  moderation: refused('ask /v1/moderations.'),
  stream_options: refused('events are not padded.', {}, { include_obfuscation: false }),
  max_tool_calls: inert('Of tools that the server runs itself: there are none.', {
    type: 'integer',
  }),
  service_tier: inert('There is one.', text),
  safety_identifier: inert('Not looked at.', text),
  prompt_cache_key: inert('Prompts that begin alike share their start anyway.', text),
  prompt_cache_retention: inert('The newest stay.', text),
  prompt_cache_options: inert('The newest stay.', { type: 'object' }),
};

interface PromptBody {
  readonly model?: string;
  readonly input: string | readonly Readonly<Record<string, unknown>>[];
  readonly instructions?: string;
  readonly text?: { readonly format?: TextFormat | null };
  readonly tools?: readonly FunctionTool[];
  readonly tool_choice?: ResponseToolChoice;
  readonly parallel_tool_calls?: boolean;
}

interface ResponsesBody extends PromptBody, SamplingBody {
  readonly max_output_tokens?: number;
  readonly include?: readonly string[];
  readonly top_logprobs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly stream?: boolean;
  readonly user?: string;
}

function optionsOf(body: ResponsesBody, { context }: Call): ChatOptions {
  const { include = [], top_logprobs: top = 0, tools = [], parallel_tool_calls: parallel } = body;
  const logprobs = include.includes(LOGPROBS);
  if (top > 0 && !logprobs) {
    throw badField('top_logprobs', `top_logprobs goes with include: ["${LOGPROBS}"]`);
  }
  const { lenient } = context.settings;
  const responseFormat = responseFormatOf(body.text?.format);
  return {
    ...samplingOptions(body, { responseFormat }),
    ...responseTools(tools, body.tool_choice, lenient),
    ...(parallel !== undefined && { parallelToolCalls: parallel }),
    ...(logprobs && { logprobs: top }),
    ...mostTokens(body.max_output_tokens, context.settings),
  };
}

/** What a response repeats of its request. */
function headOf(body: ResponsesBody, model: string): object {
  const { tools = [], user } = body;
  return {
    model,
    background: false,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: 'default',
    store: false,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    // Arguments are held to the parameters whatever is asked for.
    tools: tools.map((tool) => ({ description: null, parameters: null, strict: true, ...tool })),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    ...(user !== undefined && { user }),
  };
}

async function respond(body: ResponsesBody, call: Call): Promise<object | undefined> {
  const { models, settings } = call.context;
  const served = models.find(body.model);
  const { model, name } = served;
  const conversation = responseConversation(body.input, body.instructions, settings.lenient);
  const messages = withRoomForCalls(conversation.messages, model);
  const options = optionsOf(body, call);
  const job = {
    promptTokens: aboutChatTokens(messages, options.tools),
    start: (shared: JobOptions) => model.chat(messages, { ...options, ...shared }),
  };
  const events = conversation.wordedEvents(call.work(served).run([job]));
  const writer = new ResponseWriter(headOf(body, name), model.tokenizer);

  if (body.stream !== true) {
    for await (const { chunk, result } of events) {
      if (chunk) writer.push(chunk);
      if (result) writer.end(result as ChatResult);
    }
    return writer.response;
  }
  return call.stream(
    async (stream) => {
      const send = async (list: readonly ResponseEvent[]): Promise<void> => {
        for (const event of list) await stream.send(event, event.type);
      };
      let begun = false;
      const begin = async (): Promise<void> => {
        if (begun) return;
        begun = true;
        await send(writer.begin());
      };
      try {
        for await (const { chunk, result } of events) {
          await begin();
          if (chunk) await send(writer.push(chunk));
          if (result) await send(writer.end(result as ChatResult));
        }
      } catch (error) {
        // After a comment that kept the connection open: clients want a response to fail.
        if (stream.isOpen && !(error instanceof ClientGone)) await begin();
        throw error;
      }
    },
    (error) => {
      const data = writer.fail(error);
      return { data, event: data.type };
    },
  );
}

// eslint-disable-next-line @typescript-eslint/require-await
async function countTokens(body: PromptBody, call: Call): Promise<object> {
  const { models, settings } = call.context;
  const { model } = models.find(body.model);
  const conversation = responseConversation(body.input, body.instructions, settings.lenient);
  const { tools } = responseTools(body.tools ?? [], body.tool_choice, settings.lenient);
  return { object: 'response.input_tokens', input_tokens: conversation.countTokens(model, tools) };
}

export function responseRoutes(context: Context): void {
  addRoute<ResponsesBody>(context, {
    path: '/v1/responses',
    summary: 'Answers items with items.',
    fields: RESPONSES_FIELDS,
    operation: 'chat',
    required: ['input'],
    promptField: 'input',
    answer: respond,
  });
  addRoute<PromptBody>(context, {
    path: '/v1/responses/input_tokens',
    summary: 'The tokens of items.',
    fields: RESPONSE_PROMPT_FIELDS,
    required: ['input'],
    promptField: 'input',
    answer: countTokens,
  });
}
