/** Conversations that began with other models, as the format of the one that goes on can hold them. */
import type { Message, TextPart } from './messages';
import { withOwnCallIds } from './call-ids';

/** A model that goes on, by what it says of its format. */
interface Reader {
  readonly info: { readonly chat?: { readonly name: string } };
}

/**
 * A text beside calls of tools, in the same message or in one of its own before. ChatML has room for
 * both. Mistral's formats have none: there the text goes, as in the chat template of their models,
 * and the calls and their results stay. Parts of content that say calls again (Anthropic's, as
 * LangChain sends them) go in any format.
 * @param messages objects, whose form was not checked yet
 */
export function withRoomForCalls(
  messages: readonly Message[],
  { info }: Reader,
): readonly Message[] {
  if (info.chat?.name.startsWith('mistral-') !== true) return messages.map(withoutCallParts);
  const kept: Message[] = [];
  let callsFollow = false;
  for (const message of messages.toReversed()) {
    const calls = hasCalls(message);
    callsFollow = message.role === 'assistant' && (calls || callsFollow);
    if (calls) kept.push({ ...message, content: null });
    else if (!callsFollow) kept.push(message);
  }
  return kept.toReversed();
}

type Calling = Message & { readonly role: 'assistant' };

function hasCalls(message: Message): message is Calling {
  return (
    message.role === 'assistant' &&
    Array.isArray(message.tool_calls) &&
    message.tool_calls.length > 0
  );
}

function withoutCallParts(message: Message): Message {
  if (!hasCalls(message) || !Array.isArray(message.content)) return message;
  const texts = (message.content as readonly TextPart[]).filter((part) => !isCall(part));
  return { ...message, content: texts.length > 0 ? texts : null };
}

/** A conversation of OpenAI's form, whose calls may have ids of other servers too. */
export function historyOf(messages: readonly Message[], model: Reader): readonly Message[] {
  return withOwnCallIds(withRoomForCalls(messages, model));
}

function isCall(part: unknown): boolean {
  return (Object(part) as { type?: unknown }).type === 'tool_use';
}
