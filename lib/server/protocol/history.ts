/** Conversations that began with other models, as the format of the one that goes on can hold them. */
import type { Message, TextPart } from '../../chat/messages';
import type { Model } from '../../model/model';
import { withOwnCallIds } from './call-ids';

/**
 * A text beside calls of tools. ChatML has room for both. Mistral's formats have none: there the
 * text goes, as in the chat template of their models, and the calls and their results stay.
 * Parts of content that say calls again (Anthropic's, as LangChain sends them) go in any format.
 * @param messages objects, whose form was not checked yet
 */
export function withRoomForCalls(
  messages: readonly Message[],
  { info }: Pick<Model, 'info'>,
): readonly Message[] {
  const holdsBoth = info.chat?.name.startsWith('mistral-') !== true;
  return messages.map((message) => {
    if (message.role !== 'assistant') return message;
    const { content, tool_calls: calls } = message;
    if (!Array.isArray(calls) || calls.length === 0) return message;
    if (!holdsBoth) return { ...message, content: null };
    if (!Array.isArray(content)) return message;
    const texts = (content as readonly TextPart[]).filter((part) => !isCall(part));
    return { ...message, content: texts.length > 0 ? texts : null };
  });
}

/** A conversation of OpenAI's form, whose calls may have ids of other servers too. */
export function historyOf(
  messages: readonly Message[],
  model: Pick<Model, 'info'>,
): readonly Message[] {
  return withOwnCallIds(withRoomForCalls(messages, model));
}

function isCall(part: unknown): boolean {
  return (Object(part) as { type?: unknown }).type === 'tool_use';
}
