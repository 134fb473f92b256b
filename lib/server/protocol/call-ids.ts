/** Ids of tool calls that other servers made, in conversations that go on here. */
import { createHash } from 'node:crypto';
import type { Message } from '../../chat/messages';
import { isCallId } from '../../chat/tools';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** What clients write where a call has no id. */
const NO_IDS = ['', 'null'];

/**
 * An id as Mistral's formats take it, nine letters and digits. Others get one that is a function of
 * theirs: the same conversation has the same tokens each time, and shares what is cached of them.
 */
export function ownCallId(id: string): string {
  if (isCallId(id) || NO_IDS.includes(id)) return id;
  const hash = createHash('sha256').update(id).digest();
  return Array.from(hash.subarray(0, 9), (byte) => LETTERS[byte % LETTERS.length]).join('');
}

/** @param messages whose form was not checked yet: what is no id stays as it is */
export function withOwnCallIds(messages: readonly Message[]): readonly Message[] {
  return messages.map((message) => {
    if (message.role === 'tool') {
      const { tool_call_id: id } = message;
      return typeof id === 'string' ? { ...message, tool_call_id: ownCallId(id) } : message;
    }
    if (message.role !== 'assistant' || !Array.isArray(message.tool_calls)) return message;
    const calls = message.tool_calls;
    return { ...message, tool_calls: calls.map(withOwnId) };
  });
}

function withOwnId<T extends { readonly id?: string }>(call: T | null): T | null {
  return typeof call?.id === 'string' ? { ...call, id: ownCallId(call.id) } : call;
}
