import { MessagesError, TramontaneError } from '../errors';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { encodeJinja, encodeLearnedJinja } from './jinja';
import { readMessages, type Message, type ReadMessage, type Tool } from './messages';
import { encodeMistral } from './mistral';
import type { ValidationMode } from './mistral-rules';
import { encodeStyle, isStyle } from './styles';
import type { EncodedConversation } from './segments';
import { readTools, type ReadTool } from './tools';

/** The formats that are built in. */
export const TEMPLATE_NAMES = [
  'mistral-v1',
  'mistral-v2',
  'mistral-v3',
  'chatml',
  'zephyr',
  'openchat',
  'vicuna',
  'alpaca',
] as const;

/**
 * How a model writes conversations. `mistral-v1`: Instruct v0.1 and v0.2; `mistral-v3`: v0.3. The
 * five styles are those of the fine-tunes of the 7B. `jinja`: any other, as its file has it.
 */
export type ChatTemplate = (typeof TEMPLATE_NAMES)[number] | { readonly jinja: string };

export function isTemplate(value: unknown): value is ChatTemplate {
  if (typeof value === 'string') return (TEMPLATE_NAMES as readonly string[]).includes(value);
  return typeof (Object(value) as { jinja?: unknown }).jinja === 'string';
}

/** A conversation, and the tools the model may call. */
export interface ChatRequest {
  readonly messages: readonly Message[];
  readonly tools?: readonly Tool[] | null;
  /** The same as `prefix: true` of the last message. @default false */
  readonly continue_final_message?: boolean;
}

/** How {@link encodeChat} judges a conversation. */
export interface ChatEncoding {
  /**
   * Who may come last, by mistral-common's names: `test` and `serving` want a user or tool message,
   * or an assistant's to continue; `finetuning` an assistant's; `agnostic` any.
   * @default 'test'
   */
  readonly mode?: ValidationMode;
}

const MISTRAL: ReadonlyMap<unknown, 1 | 2 | 3> = new Map([
  ['mistral-v1', 1],
  ['mistral-v2', 2],
  ['mistral-v3', 3],
]);

/**
 * The token ids of a conversation, up to where the model's answer begins. They are put together
 * segment by segment, so that no text becomes a control token, whatever is written in it.
 * @param request messages and tools in OpenAI's form
 * @throws MessagesError (INVALID_MESSAGES) naming the message and the rule; TramontaneError
 *   INVALID_OPTION for a template that does not exist
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  request: ChatRequest,
  { mode = 'test' }: ChatEncoding = {},
): number[] {
  const { messages, tools } = readRequest(template, request);
  const version = MISTRAL.get(template);
  if (version !== undefined) {
    return encodeMistral(tokenizer, version, { messages, tools, mode }).ids;
  }
  if (isStyle(template)) return encodeStyle(tokenizer, template, messages, tools, 'test').ids;
  return encodeJinja(tokenizer, jinjaOf(template), messages, tools);
}

/**
 * A conversation that is to be learned: its last message is the assistant's, and each answer ends.
 * @returns its ids, and where in them the assistant's messages are, with what ends them
 * @throws as encodeChat() does
 */
export function encodeLearnedChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  request: ChatRequest,
): EncodedConversation {
  const mode = 'finetuning';
  const { messages, tools } = readRequest(template, request);
  const version = MISTRAL.get(template);
  if (version !== undefined) return encodeMistral(tokenizer, version, { messages, tools, mode });
  if (isStyle(template)) return encodeStyle(tokenizer, template, messages, tools, mode);
  const last = messages.at(-1)!;
  if (last.role !== 'assistant' || last.prefix) {
    const problem = 'an assistant message must be the last, and not to be continued';
    throw new MessagesError('InvalidMessageStructureException', problem, last.index);
  }
  return encodeLearnedJinja(tokenizer, jinjaOf(template), messages, tools);
}

function readRequest(
  template: ChatTemplate,
  request: ChatRequest,
): { readonly messages: readonly ReadMessage[]; readonly tools: readonly ReadTool[] } {
  if (typeof request !== 'object' || (request as unknown) === null) {
    throw new MessagesError('ValidationError', 'the request must be an object with messages');
  }
  const imageKind = template === 'mistral-v3' ? 'AssertionError' : undefined;
  const read = readMessages(request.messages, imageKind);
  const messages = continued(read, request.continue_final_message);
  if (messages.length === 0) {
    const problem = 'a conversation must have at least one message';
    throw new MessagesError('InvalidMessageStructureException', problem);
  }
  return { messages, tools: readTools(request.tools) };
}

function jinjaOf(template: ChatTemplate): string {
  if (isTemplate(template) && typeof template !== 'string') return template.jinja;
  const message = `the chat template must be ${TEMPLATE_NAMES.join(', ')} or { jinja: text }`;
  throw new TramontaneError('INVALID_OPTION', message);
}

function continued(messages: ReadMessage[], isContinued: unknown): ReadMessage[] {
  if (isContinued !== true) return messages;
  const last = messages.at(-1);
  if (last?.role !== 'assistant') {
    const problem = 'to be continued, the last message must be an assistant one';
    throw new MessagesError('InvalidMessageStructureException', problem, last?.index);
  }
  return [...messages.slice(0, -1), { ...last, prefix: true }];
}
