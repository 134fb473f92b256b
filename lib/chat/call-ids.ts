/** Ids of tool calls that other servers made, in conversations that go on here. */
import { createHash } from 'node:crypto';
import type { Message } from './messages';
import { ID_LETTERS } from './tool-calls';
import { isCallId } from './tools';

/** What clients write where a call has no id. */
const NO_IDS = ['', 'null'];

/**
 * An id as Mistral's formats take it, nine letters and digits. Others get one that is a function of
 * theirs: the same conversation has the same tokens each time, and shares what is cached of them.
 */
export function ownCallId(id: string): string {
  if (isCallId(id)) return id;
  const hash = createHash('sha256').update(id).digest();
  return Array.from(hash.subarray(0, 9), (byte) => ID_LETTERS[byte % ID_LETTERS.length]).join('');
}

function isForeign(id: unknown): id is string {
  return typeof id === 'string' && !NO_IDS.includes(id);
}

/** @param messages whose form was not checked yet: what is no id stays as it is */
export function withOwnCallIds(messages: readonly Message[]): readonly Message[] {
  return messages.map((message) => {
    if (message.role === 'tool') {
      const { tool_call_id: id } = message;
      return isForeign(id) ? { ...message, tool_call_id: ownCallId(id) } : message;
    }
    if (message.role !== 'assistant' || !Array.isArray(message.tool_calls)) return message;
    const calls = message.tool_calls;
    return { ...message, tool_calls: calls.map(withOwnId) };
  });
}

function withOwnId<T extends { readonly id?: string }>(call: T | null): T | null {
  const id = call?.id;
  return isForeign(id) ? { ...call!, id: ownCallId(id) } : call;
}
