/** Pieces of tool calls, as streams of chats have them. */
import type { IncomingHttpHeaders } from 'node:http';
import type { ToolCallDelta } from '../../chat/tool-calls';

/** Of one answer: what its next deltas are in the stream, and what was held back until its end. */
export interface CallDeltas {
  next(calls: readonly ToolCallDelta[]): readonly object[];
  rest(): readonly object[];
}

/** In OpenAI's form, or in Mistral's for its own clients, which take each delta for a whole call. */
export function callDeltas(headers: IncomingHttpHeaders): CallDeltas {
  const isMistral = /\bmistral(-client|ai)\b/.test(headers['user-agent'] ?? '');
  return isMistral ? new WholeCalls() : new CallPieces();
}

/** What a call is first, then pieces of its arguments. */
class CallPieces implements CallDeltas {
  next(calls: readonly ToolCallDelta[]): readonly object[] {
    return calls.flatMap(({ index, id, name, arguments: json }) => {
      const pieces: object[] = [];
      if (name !== undefined) {
        pieces.push({ index, id, type: 'function', function: { name, arguments: '' } });
      }
      if (json !== '') pieces.push({ index, function: { arguments: json } });
      return pieces;
    });
  }

  rest(): readonly object[] {
    return [];
  }
}

/** Each call once, at the end. */
export class WholeCalls implements CallDeltas {
  readonly #calls: {
    readonly head: {
      readonly index: number;
      readonly id: string | undefined;
      readonly type: string;
    };
    readonly name: string;
    json: string;
  }[] = [];

  next(calls: readonly ToolCallDelta[]): readonly object[] {
    for (const { index, id, name, arguments: json } of calls) {
      if (name !== undefined) {
        this.#calls[index] = { head: { index, id, type: 'function' }, name, json };
      } else {
        this.#calls[index]!.json += json;
      }
    }
    return [];
  }

  rest(): readonly object[] {
    return this.#calls.map(({ head, name, json }) => ({
      ...head,
      function: { name, arguments: json },
    }));
  }

  /**
   * What an answer that was cut off has of calls, the last of which may be cut off too: as a stream
   * of the answer has them.
   */
  begun(content: string | null): object {
    if (this.#calls.length === 0) return {};
    return {
      content: content === '' ? null : content,
      tool_calls: this.#calls.map(({ head: { index: _, ...head }, name, json }) => ({
        ...head,
        function: { name, arguments: json },
      })),
    };
  }
}
