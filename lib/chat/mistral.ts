/**
 * Mistral's own chat formats. V1 (Instruct v0.1, v0.2) writes its markers as text; V2 and V3 (v0.3)
 * have control tokens for them, and tools. To the token what mistral-common 1.13 makes:
 *
 * V1: `<s>` ` [INST] system\n\nuser [/INST]` ` answer` `</s>` ...
 * V3: `<s>` `[AVAILABLE_TOOLS]` ` [...]` `[/AVAILABLE_TOOLS]` `[INST]` ` system\n\nuser` `[/INST]` ...
 */
import { MessagesError } from '../errors';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { joined } from './inert';
import type { Call, ReadMessage } from './messages';
import { checkConversation, type ValidationMode } from './mistral-rules';
import { Segments, type EncodedConversation } from './segments';
import { callArguments, valueOf, type ReadTool } from './tools';
import { quote } from './python-json';

const V3_MARKERS = [
  '[INST]',
  '[/INST]',
  '[TOOL_CALLS]',
  '[AVAILABLE_TOOLS]',
  '[/AVAILABLE_TOOLS]',
  '[TOOL_RESULTS]',
  '[/TOOL_RESULTS]',
];

interface Turn {
  readonly role: 'user' | 'assistant' | 'tool';
  readonly text: string;
  readonly calls: readonly Call[];
  readonly prefix: boolean;
  readonly message: ReadMessage;
}

export interface MistralRequest {
  readonly messages: readonly ReadMessage[];
  readonly tools: readonly ReadTool[];
  readonly mode: ValidationMode;
}

/** @throws MessagesError */
export function encodeMistral(
  tokenizer: Tokenizer,
  version: 1 | 2 | 3,
  { messages, tools, mode }: MistralRequest,
): EncodedConversation {
  checkConversation(messages, version, mode);
  const system = messages
    .filter(({ role }) => role === 'system')
    .map(({ content }) => joined(content))
    .filter((text) => text !== '')
    .join('\n\n');
  const turns = turnsOf(messages);
  const out = new Segments(tokenizer, version === 1 ? [] : V3_MARKERS).bos();
  if (version === 1) encodeV1(out, system, turns);
  else encodeV3(out, system, turns, tools, version);
  return out;
}

/** Neighbours of one role together; what a user did not begin begins with an empty message. */
function turnsOf(messages: readonly ReadMessage[]): Turn[] {
  const turns: Turn[] = [];
  let before: ReadMessage['role'] | undefined;
  for (const message of messages) {
    const { role, calls, prefix } = message;
    const text = joined(message.content);
    const last = turns.at(-1);
    if (role !== 'system') {
      if (last !== undefined && role === before && role !== 'tool') {
        turns[turns.length - 1] = {
          ...last,
          text: [last.text, text].filter((part) => part !== '').join('\n\n'),
          calls: [...last.calls, ...calls],
          prefix,
        };
      } else {
        turns.push({ role, text, calls, prefix, message });
      }
    }
    before = role;
  }
  for (const { text, calls, message } of turns) {
    if (text === '' || calls.length === 0) continue;
    const problem = 'an answer and a call of tools cannot follow each other';
    throw new MessagesError('ValueError', problem, message.index);
  }
  if (turns[0]?.role === 'user') return turns;
  const message = messages[0]!;
  return [{ role: 'user', text: '', calls: [], prefix: false, message }, ...turns];
}

function withSystem(system: string, text: string): string {
  return system === '' ? text : `${system}\n\n${text}`;
}

function encodeV1(out: Segments, system: string, turns: readonly Turn[]): void {
  turns.forEach(({ role, text, calls, prefix, message }, place) => {
    if (role === 'tool' || calls.length > 0) {
      const problem = 'this format (V1) has no tools: use a model of v0.3';
      throw new MessagesError('TokenizerException', problem, message.index);
    }
    if (role === 'user') {
      out.text(`[INST] ${place === 0 ? withSystem(system, text) : text} [/INST]`);
    } else {
      out.answer(message.index, () => {
        out.text(text);
        if (!prefix) out.eos();
      });
    }
  });
}

function encodeV3(
  out: Segments,
  system: string,
  turns: readonly Turn[],
  tools: readonly ReadTool[],
  version: 2 | 3,
): void {
  const lastUser = turns.findLastIndex(({ role }) => role === 'user');
  if (version === 2) checkOneResult(turns, lastUser);
  turns.forEach((turn, place) => {
    const isPast = version === 2 && place < lastUser;
    switch (turn.role) {
      case 'user':
        if (place === lastUser && tools.length > 0) {
          out.control('[AVAILABLE_TOOLS]');
          out.text(`[${tools.map(({ json }) => json).join(', ')}]`);
          out.control('[/AVAILABLE_TOOLS]');
        }
        out.control('[INST]');
        out.text(place === lastUser ? withSystem(system, turn.text) : turn.text);
        out.control('[/INST]');
        break;
      case 'tool':
        if (isPast) break;
        out.control('[TOOL_RESULTS]').text(resultOf(turn, version)).control('[/TOOL_RESULTS]');
        break;
      case 'assistant':
        if (isPast && turn.calls.length > 0) break;
        out.answer(turn.message.index, () => {
          if (turn.calls.length === 0) out.text(turn.text.replace(/ +$/, ''));
          else out.control('[TOOL_CALLS]').text(callsOf(turn, version));
          if (!turn.prefix) out.eos();
        });
    }
  });
}

/** V2 has one block of results, which a second result would need a place in. */
function checkOneResult(turns: readonly Turn[], lastUser: number): void {
  for (let place = lastUser + 1; place < turns.length; place++) {
    if (turns[place]!.role !== 'tool' || turns[place - 1]!.role !== 'tool') continue;
    throw new MessagesError(
      'UnsupportedTokenizerFeatureException',
      'this format (V2) has one tool result after a call',
      turns[place]!.message.index,
    );
  }
}

function callsOf({ calls, message }: Turn, version: 2 | 3): string {
  const written = calls.map((call) => {
    const id = version === 3 && call.id !== undefined && call.id !== 'null';
    return (
      `{"name": ${quote(call.name)}, "arguments": ${callArguments(call, message.index)}` +
      (id ? `, "id": ${quote(call.id)}}` : '}')
    );
  });
  return `[${written.join(', ')}]`;
}

function resultOf({ text, message: { callId, name } }: Turn, version: 2 | 3): string {
  const content = text === '' ? '{}' : valueOf(text);
  return version === 2
    ? `[{"name": ${name === undefined ? 'null' : quote(name)}, "content": ${content}}]`
    : `{"content": ${content}, "call_id": ${quote(callId ?? '')}}`;
}

/** Whether a vocabulary has the control tokens that filling in the middle is written with. */
export function hasFim(tokenizer: Tokenizer): boolean {
  return tokenizer.isControl(tokenizer.idOf('[SUFFIX]') ?? -1);
}

/**
 * Fill in the middle: the model writes what comes between `prompt` and `suffix`.
 * @throws MessagesError where the format has no such thing
 */
export function encodeFim(
  tokenizer: Tokenizer,
  template: 'mistral-v2' | 'mistral-v3' | 'mistral-v1',
  { prompt, suffix = '' }: { readonly prompt: string; readonly suffix?: string },
): number[] {
  if (template === 'mistral-v1') {
    throw new MessagesError('TokenizerException', 'this format (V1) cannot fill in the middle');
  }
  const out = new Segments(tokenizer, template === 'mistral-v2' ? [] : ['[SUFFIX]', '[PREFIX]']);
  const mark = (piece: string): void => {
    // V2 has no such pieces; mistral-common writes <unk> for them.
    if (template === 'mistral-v3') out.control(piece);
    else out.control('<unk>');
  };
  out.bos();
  mark('[SUFFIX]');
  out.continued(suffix);
  mark('[PREFIX]');
  out.text(prompt);
  return out.ids;
}
