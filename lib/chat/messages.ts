/** Conversations as they come in, in OpenAI's form, and as encoders take them. */
import { MessagesError } from '../errors';

/** A part of a message's content. */
export type TextPart =
  | { readonly type: 'text'; readonly text: string }
  /** Text of somebody who is not trusted: see {@link untrusted}. */
  | { readonly type: 'untrusted'; readonly text: string };

export type Content = string | readonly TextPart[];

/** A call of a tool that an assistant made. */
export interface ToolCall {
  /** Nine letters and digits for Mistral's own formats. */
  readonly id?: string;
  readonly type?: 'function';
  /** Arguments as JSON text, as in OpenAI's form, or as a value. */
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** One message of a conversation, in OpenAI's form. `developer` is another name of `system`. */
export type Message =
  | { readonly role: 'system' | 'developer' | 'user'; readonly content: Content }
  | {
      readonly role: 'assistant';
      readonly content?: Content | null;
      readonly tool_calls?: readonly ToolCall[] | null;
      /** Of the last message: it is continued, not answered. */
      readonly prefix?: boolean;
    }
  | {
      readonly role: 'tool';
      readonly content: Content;
      readonly tool_call_id?: string;
      readonly name?: string;
    };

/** A function the model may call, in OpenAI's form. */
export interface Tool {
  readonly type?: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** JSON Schema of the arguments. */
    readonly parameters?: object;
  };
}

/**
 * Text that others wrote: a document that was looked up, a page, a tool's answer. It never becomes
 * control tokens (no content does), and markers that a format writes as plain text, such as `[INST]`
 * in Mistral's V1 or `<|user|>` in Zephyr's, get a space inside, so that it cannot pose as a turn.
 */
export function untrusted(text: string): TextPart {
  return { type: 'untrusted', text };
}

/** A piece of content; what is untrusted stays marked until the encoder has defused it. */
export interface Piece {
  readonly text: string;
  readonly trusted: boolean;
}

export interface Call {
  readonly id: string | undefined;
  readonly name: string;
  readonly arguments: unknown;
}

/** A message that was checked by itself, but not yet in its place. */
export interface ReadMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly index: number;
  readonly content: readonly Piece[];
  readonly calls: readonly Call[];
  readonly prefix: boolean;
  /** Of a tool's answer. */
  readonly callId: string | undefined;
  readonly name: string | undefined;
}

const ROLES: Readonly<Record<string, ReadMessage['role']>> = {
  __proto__: null as never,
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
};

/**
 * @param imageKind what mistral-common calls an image, which differs between formats
 * @throws MessagesError naming the message
 */
export function readMessages(
  messages: unknown,
  imageKind = 'InvalidUserMessageException',
): ReadMessage[] {
  if (!Array.isArray(messages)) {
    throw new MessagesError('ValidationError', 'messages must be an array of messages');
  }
  return Array.from(messages, (message, index) => readMessage(message, index, imageKind));
}

function readMessage(message: unknown, index: number, imageKind: string): ReadMessage {
  const fields = fieldsOf(message);
  const { role: roleName, content, tool_calls: calls, prefix } = fields;
  const role = typeof roleName === 'string' ? ROLES[roleName] : undefined;
  if (role === undefined) {
    const problem = 'the role must be system, user, assistant or tool';
    throw new MessagesError('ValidationError', problem, index);
  }
  const isAssistant = role === 'assistant';
  const callId = fields['tool_call_id'];
  if (role === 'tool' && callId === undefined) {
    throw new MessagesError('KeyError', 'a tool message must have tool_call_id', index);
  }
  return {
    role,
    index,
    content:
      isAssistant && (content ?? null) === null ? [] : readContent(content, index, imageKind),
    calls: isAssistant && (calls ?? null) !== null ? readCalls(calls, index) : [],
    prefix: isAssistant && prefix === true,
    callId: optionalString('tool_call_id', callId, index),
    name: role === 'tool' ? optionalString('name', fields['name'], index) : undefined,
  };
}

function readContent(content: unknown, index: number, imageKind: string): Piece[] {
  if (typeof content === 'string') return [{ text: content, trusted: true }];
  if (Array.isArray(content))
    return Array.from(content, (part) => readPart(part, index, imageKind));
  const kind = content === null || content === undefined ? 'ValidationError' : 'ValueError';
  throw new MessagesError(kind, 'content must be a string or an array of text parts', index);
}

function readPart(part: unknown, index: number, imageKind: string): Piece {
  const { type, text } = Object(part) as { type?: unknown; text?: unknown };
  if (type === 'image_url' || type === 'image') {
    const problem = 'an image: this model reads text alone';
    throw new MessagesError(imageKind, problem, index);
  }
  if (type !== 'text' && type !== 'untrusted') {
    const problem = "a part of content must have type 'text'";
    throw new MessagesError('ValueError', problem, index);
  }
  if (typeof text !== 'string') {
    throw new MessagesError('ValidationError', 'the text of a part must be a string', index);
  }
  return { text, trusted: type === 'text' };
}

function readCalls(calls: unknown, index: number): Call[] {
  if (!Array.isArray(calls)) {
    throw new MessagesError('ValidationError', 'tool_calls must be an array', index);
  }
  return calls.map((call: unknown) => {
    const { id, function: called } = fieldsOf(call);
    const { name, arguments: values } = fieldsOf(called);
    if (typeof name !== 'string') {
      const problem = 'a tool call must have function.name';
      throw new MessagesError('ValidationError', problem, index);
    }
    return { id: optionalString('the id of a tool call', id, index), name, arguments: values };
  });
}

/** None of a function, whose own `arguments` cannot be read. */
function fieldsOf(value: unknown): Record<string, unknown> {
  return (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
}

function optionalString(what: string, value: unknown, index: number): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw new MessagesError('ValidationError', `${what} must be a string`, index);
}
