/** Prompts of the AI SDK as messages of OpenAI's form. */
import type {
  LanguageModelV3Message,
  LanguageModelV3Prompt,
  LanguageModelV3ToolResultPart,
} from '@ai-sdk/provider';
import type { Message, TextPart, ToolCall } from '../chat/messages';
import { MessagesError } from '../errors';

/** @throws MessagesError for a part that is no text, call or result */
export function messagesOf(prompt: LanguageModelV3Prompt): Message[] {
  return prompt.flatMap((message, index) => messageOf(message, index));
}

function messageOf(message: LanguageModelV3Message, index: number): Message[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', content: message.content }];
    case 'user':
      return [{ role: 'user', content: textsOf(message.content, index) }];
    case 'assistant': {
      const calls = message.content.filter((part) => part.type === 'tool-call');
      // What a model thought before it answered is not read again.
      const rest = message.content.filter(
        ({ type }) => type !== 'tool-call' && type !== 'reasoning',
      );
      const content = rest.length > 0 ? textsOf(rest, index) : null;
      if (calls.length === 0) return [{ role: 'assistant', content: content ?? '' }];
      return [{ role: 'assistant', content, tool_calls: calls.map(callOf) }];
    }
    case 'tool':
      return message.content
        .filter((part) => part.type === 'tool-result')
        .map(({ toolCallId, toolName, output }) => ({
          role: 'tool',
          tool_call_id: toolCallId,
          name: toolName,
          content: outputText(output, index),
        }));
  }
}

type Part = { readonly type: string } | TextPart;

function textsOf(parts: readonly Part[], index: number): TextPart[] {
  return parts.map((part) => {
    if (part.type === 'text') return { type: 'text', text: (part as TextPart).text };
    throw unsupported(part.type, index);
  });
}

function unsupported(type: string, index: number): MessagesError {
  const problem = `a part of type '${type}' is not supported: the models read text`;
  return new MessagesError('ValidationError', problem, index);
}

function callOf({
  toolCallId,
  toolName,
  input,
}: {
  readonly toolCallId: string;
  readonly toolName: string;
  readonly input: unknown;
}): ToolCall {
  return { id: toolCallId, type: 'function', function: { name: toolName, arguments: input } };
}

function outputText(output: LanguageModelV3ToolResultPart['output'], index: number): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value;
    case 'json':
    case 'error-json':
      return JSON.stringify(output.value);
    case 'execution-denied':
      return output.reason ?? 'The user did not allow this call.';
    case 'content':
      return output.value
        .map((part) => {
          if (part.type === 'text') return part.text;
          throw unsupported(part.type, index);
        })
        .join('\n');
  }
}
