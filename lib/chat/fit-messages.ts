import { TramontaneError } from '../errors';
import type { Message } from './messages';

/**
 * The newest part of a conversation that a budget holds. What goes is the oldest whole turn: a user's
 * message and all that answers it, calls and results of tools included. System messages stay.
 * @param budget tokens the conversation may have; leave room for the answer
 * @param count of the tokens of a conversation: `(messages) => model.chatTokens(messages).length`
 * @throws TramontaneError INVALID_PROMPT, with both numbers, when even the last turn is too long
 */
export function fitMessages(
  messages: readonly Message[],
  budget: number,
  count: (messages: readonly Message[]) => number,
): Message[] {
  let kept = [...messages];
  for (;;) {
    const tokens = count(kept);
    if (tokens <= budget) return kept;
    const fewer = withoutOldestTurn(kept);
    if (fewer === undefined) {
      throw new TramontaneError(
        'INVALID_PROMPT',
        `the last turn and the system messages have ${tokens} tokens, but the budget is ${budget}`,
      );
    }
    kept = fewer;
  }
}

/** Undefined where one turn is left. */
function withoutOldestTurn(messages: readonly Message[]): Message[] | undefined {
  const isSystem = ({ role }: Message): boolean => role === 'system' || role === 'developer';
  const first = messages.findIndex((message) => !isSystem(message));
  const next = messages.findIndex(
    ({ role }, place) => place > first && role === 'user' && messages[place - 1]!.role !== 'user',
  );
  if (first < 0 || next < 0) return undefined;
  return messages.filter((message, place) => place < first || place >= next || isSystem(message));
}
