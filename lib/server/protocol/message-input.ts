/** What POST /v1/messages takes, as a chat: its blocks, tools and choice of tools. */
import type { Content, TextPart } from '../../chat/messages';
import type { ChatOptions } from '../../model/chat';
import { Conversation, textContent, textField, textPart, unsupportedType } from './conversation';
import { badField } from './errors';

type Block = Readonly<Record<string, unknown>>;

export interface MessagesParam {
  readonly role: 'user' | 'assistant';
  readonly content: string | readonly Block[];
}

export interface MessagesTool {
  readonly type?: string | null;
  readonly name: string;
  readonly description?: string | null;
  readonly input_schema?: object;
}

export interface MessagesToolChoice {
  readonly type: 'auto' | 'any' | 'tool' | 'none';
  readonly name?: string;
  readonly disable_parallel_tool_use?: boolean | null;
}

const NAMES = {
  prompt: 'messages',
  fields: {
    stop: 'stop_sequences',
    response_format: 'output_config.format',
    parallel_tool_calls: 'tool_choice.disable_parallel_tool_use',
  },
};

const TEXT = { text: 'text' };
const BLOCKS = { user: ['text', 'tool_result'], assistant: ['text', 'tool_use'] } as const;

/**
 * @param lenient whether a reasoning model's thoughts are passed over
 * @throws ApiError naming the block
 */
export function messagesConversation(
  messages: readonly MessagesParam[],
  system: string | readonly Block[] | undefined,
  lenient: boolean,
): Conversation {
  const conversation = new Conversation(NAMES);
  if (system !== undefined && system.length > 0) {
    const content = textContent(system, 'system', TEXT);
    conversation.add('system', { role: 'system', content });
  }
  messages.forEach(({ role, content }, index) => {
    const place = `messages[${index}]`;
    if (typeof content === 'string') conversation.add(place, { role, content });
    else addBlocks(conversation, { role, blocks: content, place }, lenient);
  });
  // Anthropic's API goes on with an answer that was begun.
  conversation.continueLast();
  return conversation;
}

/** Texts that follow each other are one message; results, and calls, are others. */
function addBlocks(
  conversation: Conversation,
  { role, blocks, place }: { role: MessagesParam['role']; blocks: readonly Block[]; place: string },
  lenient: boolean,
): void {
  let texts: TextPart[] = [];
  const flush = (): void => {
    if (texts.length > 0) conversation.add(place, { role, content: texts });
    texts = [];
  };
  blocks.forEach((block, index) => {
    const { type } = block;
    const at = `${place}.content[${index}]`;
    if (lenient && (type === 'thinking' || type === 'redacted_thinking')) return;
    if (type === 'text') {
      texts.push(textPart(block, at, TEXT));
    } else if (type === 'tool_result' && role === 'user') {
      flush();
      const id = textField(block, 'tool_use_id', at);
      conversation.addResult(at, id, resultOf(block['content'], at));
    } else if (type === 'tool_use' && role === 'assistant') {
      flush();
      const { input } = block;
      if (typeof input !== 'object' || input === null) {
        throw badField(`${at}.input`, `${at}.input must be an object`);
      }
      const id = textField(block, 'id', at);
      conversation.addCall(at, { id, name: textField(block, 'name', at), values: input });
    } else {
      throw unsupportedType(at, type, BLOCKS[role]);
    }
  });
  flush();
}

function resultOf(content: unknown, place: string): Content {
  return content === undefined ? '' : textContent(content, `${place}.content`, TEXT);
}

/**
 * The tools and the choice as a chat has them.
 * @param lenient whether tools that a server would run itself are passed over
 * @throws ApiError
 */
export function messagesTools(
  tools: readonly MessagesTool[],
  choice: MessagesToolChoice | undefined,
  lenient: boolean,
): Pick<ChatOptions, 'tools' | 'toolChoice' | 'parallelToolCalls'> {
  const offered = tools.flatMap((tool, index) => {
    const { type, name, description, input_schema: parameters } = tool;
    if (typeof type === 'string' && type !== 'custom') {
      if (lenient) return [];
      throw unsupportedType(`tools[${index}]`, type, ['custom']);
    }
    if (parameters === undefined) {
      const place = `tools[${index}].input_schema`;
      throw badField(place, `${place} is missing`, 'missing_required_parameter');
    }
    const described = typeof description === 'string' ? { description } : {};
    return { type: 'function' as const, function: { name, ...described, parameters } };
  });
  return {
    ...(offered.length > 0 && { tools: offered }),
    ...(choice && { toolChoice: toolChoice(choice) }),
    ...(choice?.disable_parallel_tool_use === true && { parallelToolCalls: false }),
  };
}

function toolChoice(choice: MessagesToolChoice): NonNullable<ChatOptions['toolChoice']> {
  if (choice.type === 'tool') return { name: textField({ ...choice }, 'name', 'tool_choice') };
  return choice.type === 'any' ? 'required' : choice.type;
}
