/** An answer of POST /v1/messages, and the events of one as it comes. */
import type { ToolCallDelta } from '../../chat/tool-calls';
import type { ChatResult, GenerationChunk } from '../../model/generation';
import { newId } from '../context';

export interface MessageEvent {
  readonly type: string;
}

/** Why an answer ended, in Anthropic's words. */
export function stopOf(
  { finishReason, stopSequence, message }: ChatResult,
  stops: readonly string[],
): { readonly stop_reason: string; readonly stop_sequence: string | null } {
  const reason = (name: string) => ({ stop_reason: name, stop_sequence: null });
  if (finishReason === 'length') return reason('max_tokens');
  if (finishReason === 'refused') return reason('refusal');
  // The chat format has stops of its own, which end a turn.
  if (stopSequence !== undefined && stops.includes(stopSequence)) {
    return { stop_reason: 'stop_sequence', stop_sequence: stopSequence };
  }
  return reason(message.tool_calls === undefined ? 'end_turn' : 'tool_use');
}

/** Tokens that were read from the cache are not among `input_tokens`. */
export function messageUsage({ usage }: ChatResult): object {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
  };
}

/** The blocks of a whole answer. A call that was cut off is not among them: it has no input yet. */
export function blocksOf({ message }: ChatResult, text: string): object[] {
  const calls = (message.tool_calls ?? []).map(({ id, function: called }) => ({
    type: 'tool_use',
    id,
    name: called.name,
    input: JSON.parse(called.arguments) as object,
  }));
  return text === '' ? calls : [{ type: 'text', text }, ...calls];
}

export function messageOf(model: string): object {
  return { id: newId('msg_'), type: 'message', role: 'assistant', model };
}

export class MessageWriter {
  readonly #head: object;
  readonly #stops: readonly string[];
  #block: { readonly index: number; readonly call: number | undefined } | undefined;

  /** @param stops of the request */
  constructor(head: object, stops: readonly string[]) {
    this.#head = head;
    this.#stops = stops;
  }

  /** What was cached is known at the end alone: until then all tokens of the prompt are input. */
  begin(promptTokens: number): MessageEvent[] {
    const usage = {
      input_tokens: promptTokens,
      cache_creation_input_tokens: null,
      cache_read_input_tokens: null,
      output_tokens: 0,
    };
    const ending = { content: [], stop_reason: null, stop_sequence: null, usage };
    return [event('message_start', { message: { ...this.#head, ...ending } }), event('ping')];
  }

  push({ text, toolCalls = [] }: GenerationChunk): MessageEvent[] {
    const events = toolCalls.flatMap((delta) => this.#pushCall(delta));
    if (text === '') return events;
    if (this.#block === undefined || this.#block.call !== undefined) {
      events.push(...this.#open(undefined, { type: 'text', text: '' }));
    }
    events.push(this.#delta({ type: 'text_delta', text }));
    return events;
  }

  end(result: ChatResult): MessageEvent[] {
    return [
      ...this.#close(),
      event('message_delta', { delta: stopOf(result, this.#stops), usage: messageUsage(result) }),
      event('message_stop'),
    ];
  }

  #pushCall({ index, id, name, arguments: json }: ToolCallDelta): MessageEvent[] {
    const events: MessageEvent[] = [];
    if (this.#block?.call !== index) {
      events.push(...this.#open(index, { type: 'tool_use', id, name, input: {} }));
    }
    if (json !== '') events.push(this.#delta({ type: 'input_json_delta', partial_json: json }));
    return events;
  }

  #open(call: number | undefined, block: object): MessageEvent[] {
    const index = this.#block === undefined ? 0 : this.#block.index + 1;
    const events = this.#close();
    this.#block = { index, call };
    events.push(event('content_block_start', { index, content_block: block }));
    return events;
  }

  #delta(delta: object): MessageEvent {
    return event('content_block_delta', { index: this.#block!.index, delta });
  }

  #close(): MessageEvent[] {
    return this.#block === undefined
      ? []
      : [event('content_block_stop', { index: this.#block.index })];
  }
}

function event(type: string, fields: object = {}): MessageEvent {
  return { type, ...fields };
}
