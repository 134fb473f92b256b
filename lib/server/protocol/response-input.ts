/** What POST /v1/responses takes, as a chat: its items, tools and choice of tools. */
import type { ChatOptions, ChatTool } from '../../model/chat';
import { Conversation, textContent, textField, unsupportedType } from './conversation';
import { badField } from './errors';
import type { ResponseFormat } from './sampling';

type Item = Readonly<Record<string, unknown>>;

export interface FunctionTool {
  readonly type: string;
  readonly name?: string;
  readonly description?: string | null;
  readonly parameters?: object | null;
  readonly strict?: boolean | null;
}

export type ResponseToolChoice =
  | 'none'
  | 'auto'
  | 'required'
  | {
      readonly type: string;
      readonly name?: string;
      readonly mode?: 'auto' | 'required';
      readonly tools?: readonly { readonly type?: string; readonly name?: string }[];
    };

export interface TextFormat {
  readonly type: 'text' | 'json_object' | 'json_schema';
  readonly name?: string;
  readonly description?: string;
  readonly schema?: object | boolean;
  readonly strict?: boolean | null;
}

const NAMES = {
  prompt: 'input',
  fields: { max_tokens: 'max_output_tokens', response_format: 'text.format' },
};

const PARTS = { input_text: 'text', output_text: 'text', text: 'text', refusal: 'refusal' };
const ROLES = ['user', 'assistant', 'system', 'developer'] as const;
const ITEMS = ['message', 'function_call', 'function_call_output'];

/**
 * @param lenient whether items that only a reasoning model reads are passed over
 * @throws ApiError naming the item
 */
export function responseConversation(
  input: string | readonly Item[],
  instructions: string | undefined,
  lenient: boolean,
): Conversation {
  const conversation = new Conversation(NAMES);
  if (instructions !== undefined) {
    conversation.add('instructions', { role: 'system', content: instructions });
  }
  if (typeof input === 'string') {
    conversation.add('input', { role: 'user', content: input });
    return conversation;
  }
  input.forEach((item, index) => {
    if (lenient && item['type'] === 'reasoning') return;
    addItem(conversation, item, `input[${index}]`);
  });
  return conversation;
}

function addItem(conversation: Conversation, item: Item, place: string): void {
  switch (item['type'] ?? 'message') {
    case 'message': {
      const role = ROLES.find((known) => known === item['role']);
      if (role === undefined) {
        throw badField(`${place}.role`, `${place}.role must be one of ${ROLES.join(', ')}`);
      }
      const content = textContent(item['content'], `${place}.content`, PARTS);
      conversation.add(place, { role, content });
      return;
    }
    case 'function_call': {
      const id = textField(item, 'call_id', place);
      const name = textField(item, 'name', place);
      conversation.addCall(place, { id, name, values: textField(item, 'arguments', place) });
      return;
    }
    case 'function_call_output': {
      const content = textContent(item['output'], `${place}.output`, PARTS);
      conversation.addResult(place, textField(item, 'call_id', place), content);
      return;
    }
    default:
      throw unsupportedType(place, item['type'], ITEMS);
  }
}

/**
 * The tools and the choice as a chat has them. Of `allowed_tools` only those are offered.
 * @param lenient whether tools that are no functions are passed over
 * @throws ApiError
 */
export function responseTools(
  tools: readonly FunctionTool[],
  choice: ResponseToolChoice | undefined,
  lenient: boolean,
): Pick<ChatOptions, 'tools' | 'toolChoice'> {
  const offered = functionsOf(tools, lenient);
  if (choice === undefined || typeof choice === 'string') {
    return shape(offered, choice);
  }
  if (choice.type === 'function') {
    return shape(offered, { name: textField({ ...choice }, 'name', 'tool_choice') });
  }
  if (choice.type !== 'allowed_tools') {
    throw unsupportedType('tool_choice', choice.type, ['function', 'allowed_tools']);
  }
  const { mode = 'auto', tools: allowed = [] } = choice;
  const names = new Set(allowed.map(({ name }) => name));
  const known = new Set(offered.map(({ function: called }) => called.name));
  const unknown = allowed.findIndex(({ name }) => name === undefined || !known.has(name));
  if (unknown >= 0) {
    const place = `tool_choice.tools[${unknown}].name`;
    throw badField(place, `${place} is none of the tools' names`);
  }
  return shape(
    offered.filter(({ function: called }) => names.has(called.name)),
    mode,
  );
}

function shape(
  tools: readonly ChatTool[],
  toolChoice: ChatOptions['toolChoice'],
): Pick<ChatOptions, 'tools' | 'toolChoice'> {
  return { ...(tools.length > 0 && { tools }), ...(toolChoice !== undefined && { toolChoice }) };
}

function functionsOf(tools: readonly FunctionTool[], lenient: boolean): ChatTool[] {
  return tools.flatMap((tool, index) => {
    const { type, description, parameters } = tool;
    if (type !== 'function') {
      if (lenient) return [];
      throw unsupportedType(`tools[${index}]`, type, ['function']);
    }
    const name = textField({ ...tool }, 'name', `tools[${index}]`);
    return {
      type,
      function: {
        name,
        ...(typeof description === 'string' && { description }),
        ...(parameters && { parameters }),
      },
    };
  });
}

/** @throws ApiError */
export function responseFormatOf(
  format: TextFormat | null | undefined,
): ResponseFormat | undefined {
  if (format?.type !== 'json_schema') return format ?? undefined;
  for (const name of ['name', 'schema'] as const) {
    if (format[name] !== undefined) continue;
    const place = `text.format.${name}`;
    throw badField(place, `${place} is missing`, 'missing_required_parameter');
  }
  return { type: 'json_schema', json_schema: { name: format.name!, schema: format.schema! } };
}
