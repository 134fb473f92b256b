/** Conversations of APIs that are not written as messages of OpenAI's chat. */
import type { Content, Message, TextPart, ToolCall } from '../../chat/messages';
import { withRoomForCalls } from '../../chat/history';
import { MessagesError, TramontaneError } from '../../errors';
import type { ChatPromptOptions } from '../../model/chat';
import type { Model } from '../../model/model';
import type { WorkEvent } from '../work';
import { ownCallId } from '../../chat/call-ids';
import { ApiError, apiError, badField } from './errors';

/** Names of a route's fields, where they are not those of chats. */
export interface FieldNames {
  /** The field with the conversation. */
  readonly prompt: string;
  readonly fields: Readonly<Record<string, string>>;
}

type Assistant = Extract<Message, { role: 'assistant' }>;

/** Messages, and the place in the request that each came from, for errors. */
export class Conversation {
  readonly #messages: Message[] = [];
  readonly #places: string[] = [];
  readonly #names: FieldNames;

  constructor(names: FieldNames) {
    this.#names = names;
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  add(place: string, message: Message): void {
    this.#messages.push(message);
    this.#places.push(place);
  }

  addResult(place: string, callId: string, content: Content): void {
    this.add(place, { role: 'tool', content, tool_call_id: ownCallId(callId) });
  }

  /** Calls that follow each other, or a text, are one message with it. */
  addCall(
    place: string,
    { id, name, values }: { id: string; name: string; values: unknown },
  ): void {
    const call: ToolCall = {
      id: ownCallId(id),
      type: 'function',
      function: { name, arguments: values },
    };
    const last = this.#messages.at(-1);
    if (last?.role !== 'assistant') {
      this.add(place, { role: 'assistant', content: null, tool_calls: [call] });
      return;
    }
    const { content = null, tool_calls: calls } = last;
    const whole: Assistant = {
      role: 'assistant',
      content: isEmpty(content) ? null : content,
      tool_calls: [...(calls ?? []), call],
    };
    this.#messages[this.#messages.length - 1] = whole;
  }

  /** Has the model go on with the assistant's message that is the last, where one is. */
  continueLast(): void {
    const last = this.#messages.at(-1);
    if (last?.role !== 'assistant' || last.tool_calls) return;
    this.#messages[this.#messages.length - 1] = { ...last, prefix: true };
  }

  /** How many tokens the model reads, where these tools are offered. */
  countTokens(model: Model, tools: ChatPromptOptions['tools']): number {
    try {
      return model.chatTokens(withRoomForCalls(this.#messages, model), { tools }).length;
    } catch (error) {
      throw this.#worded(error);
    }
  }

  /** Events whose errors name the request's fields. */
  async *wordedEvents(
    events: AsyncGenerator<WorkEvent, void, undefined>,
  ): AsyncGenerator<WorkEvent, void, undefined> {
    try {
      yield* events;
    } catch (error) {
      throw this.#worded(error);
    }
  }

  #worded(error: unknown): unknown {
    if (!(error instanceof TramontaneError)) return error;
    const { prompt, fields } = this.#names;
    if (error instanceof MessagesError) {
      const problem = error.message.replace(/^messages\[\d+\]: /, '');
      const tool = /^tools\[\d+\]/.exec(problem)?.[0];
      const place = this.#places[error.index ?? -1] ?? tool ?? prompt;
      const message = tool === undefined ? `${place}: ${problem}` : problem;
      return badField(place, message, 'invalid_messages');
    }
    const { status, message, param, code, retryAfter } = apiError(error, prompt);
    const name = param === undefined ? undefined : fields[param];
    if (param === undefined || name === undefined) {
      return new ApiError(status, message, { param, code, retryAfter });
    }
    const renamed = message.startsWith(param) ? name + message.slice(param.length) : message;
    return new ApiError(status, renamed, { param: name, code });
  }
}

function isEmpty(content: Content | null): boolean {
  if (content === null || typeof content === 'string') return (content ?? '') === '';
  return content.every(({ text }) => text === '');
}

/**
 * Content that is a text, or parts of which all are texts.
 * @param types of parts with a text, and the names of their fields
 * @throws ApiError
 */
export function textContent(
  content: unknown,
  place: string,
  types: Readonly<Record<string, string>>,
): Content {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) {
    throw badField(place, `${place} must be a text, or a list of parts`);
  }
  return content.map((part, index) => textPart(part, `${place}[${index}]`, types));
}

export function textPart(
  part: unknown,
  place: string,
  types: Readonly<Record<string, string>>,
): TextPart {
  const { type, ...fields } = Object(part) as Readonly<Record<string, unknown>>;
  if (typeof type !== 'string' || !Object.hasOwn(types, type)) {
    throw unsupportedType(place, type, Object.keys(types));
  }
  return { type: 'text', text: textField(fields, types[type]!, place) };
}

/** @throws ApiError for a part, an item or a tool of a kind that is not to be had */
export function unsupportedType(place: string, type: unknown, known: readonly string[]): ApiError {
  const name = typeof type === 'string' ? `'${type}' is not supported` : 'must be a string';
  const message = `${place}.type: ${name}; these are: ${known.join(', ')}`;
  return badField(`${place}.type`, message, 'unsupported_value');
}

/** @throws ApiError where it is no string */
export function textField(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  place: string,
): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw badField(`${place}.${name}`, `${place}.${name} must be a string`);
}
