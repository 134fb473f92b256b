/** In which order messages may come, and what each may be: as mistral-common validates them. */
import { MessagesError } from '../errors';
import type { ReadMessage } from './messages';
import { isCallId, isFunctionName, NAME_RULE } from './tools';

/**
 * `test` and `serving`: a user, a tool or an assistant's beginning comes last. `finetuning`: an
 * assistant does. `agnostic`: anyone.
 */
export type ValidationMode = 'test' | 'serving' | 'finetuning' | 'agnostic';

/** Who may follow whom. */
const FOLLOWERS: Readonly<Record<ReadMessage['role'], readonly ReadMessage['role'][]>> = {
  system: ['user', 'assistant', 'system'],
  user: ['assistant', 'system', 'user'],
  assistant: ['assistant', 'user', 'tool'],
  tool: ['assistant', 'tool', 'user'],
};

function structure(problem: string, index?: number): MessagesError {
  return new MessagesError('InvalidMessageStructureException', problem, index);
}

/**
 * @param messages at least one
 * @param version of the format: V3 alone asks for ids of calls
 * @throws MessagesError
 */
export function checkConversation(
  messages: readonly ReadMessage[],
  version: 1 | 2 | 3,
  mode: ValidationMode,
): void {
  checkOrder(messages, mode);
  checkCallsAnswered(messages, mode);
  messages.forEach((message, place) => {
    if (message.role === 'assistant') {
      checkAssistant(message, place === messages.length - 1, version, mode);
    } else if (message.role === 'tool' && version === 3 && !isCallId(message.callId ?? '')) {
      const problem = `tool_call_id must be nine letters or digits, but is ${String(message.callId)}`;
      throw new MessagesError('InvalidToolMessageException', problem, message.index);
    }
  });
}

function checkOrder(messages: readonly ReadMessage[], mode: ValidationMode): void {
  const last = messages.at(-1)!;
  if (messages.length === 1 && last.role === 'assistant') {
    throw structure('a conversation must start with a user or system message');
  }
  for (let place = 1; place < messages.length; place++) {
    const { role } = messages[place - 1]!;
    const next = messages[place]!;
    if (!FOLLOWERS[role].includes(next.role)) {
      throw structure(`${next.role} may not follow ${role}`, next.index);
    }
  }
  if (mode === 'agnostic') return;
  const { role, prefix, index } = last;
  if (mode === 'finetuning') {
    if (role !== 'assistant') throw structure('an assistant message must be the last', index);
    if (prefix) throw structure('the last message cannot be continued in fine-tuning', index);
  } else if (role === 'assistant' && !prefix) {
    throw structure(
      'the last message must be a user or tool message, or an assistant one with prefix: true',
      index,
    );
  }
}

/** Every call has its answer before the assistant goes on. */
function checkCallsAnswered(messages: readonly ReadMessage[], mode: ValidationMode): void {
  let expected = 0;
  messages.forEach(({ role, calls, index }, place) => {
    if (place === 0) return;
    if (role === 'tool') expected--;
    else if (role === 'assistant') {
      if (expected !== 0) throw structure('there are not as many tool messages as calls', index);
      expected = calls.length;
    }
  });
  if (mode !== 'serving' || messages.at(-1)?.role !== 'tool' || expected === 0) return;
  throw structure(
    expected > 0 ? 'some calls have no tool message' : 'there are more tool messages than calls',
  );
}

function checkAssistant(
  { calls, content, prefix, index }: ReadMessage,
  isLast: boolean,
  version: 1 | 2 | 3,
  mode: ValidationMode,
): void {
  const hasContent = content.some(({ text }) => text !== '');
  if (hasContent === calls.length > 0) {
    const problem = 'an assistant message must have either content or tool_calls, but not both';
    throw new MessagesError('InvalidAssistantMessageException', problem, index);
  }
  if (prefix && !isLast) {
    const problem = 'only the last message can have prefix: true';
    throw new MessagesError('InvalidAssistantMessageException', problem, index);
  }
  const fail = (problem: string): MessagesError =>
    new MessagesError('InvalidFunctionCallException', problem, index);
  for (const { id, name } of calls) {
    if (!isFunctionName(name)) throw fail(NAME_RULE);
    if (version !== 3) continue;
    if (id === undefined || id === 'null') {
      // A call that is to be learned may be without one.
      if (mode !== 'finetuning' || !isLast) throw fail('a call must have an id');
    } else if (!isCallId(id)) {
      throw fail(`the id of a call must be nine letters or digits, but is ${id}`);
    }
  }
}
