/** An answer of POST /v1/responses as it comes: its items, and the events that tell of them. */
import type { ToolCallDelta } from '../../chat/tool-calls';
import type { ChatResult, GenerationChunk, LogprobInfo } from '../../model/generation';
import type { Tokenizer } from '../../tokenizer/tokenizer';
import { newId, unixTime } from '../context';
import type { ApiError } from './errors';
import { chatLogprobs } from './logprobs';
import { finishReason } from './usage';

export interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
}

type Status = 'in_progress' | 'completed' | 'incomplete';

interface TextItem {
  readonly kind: 'text';
  readonly id: string;
  readonly text: string[];
  readonly logprobs: object[];
}

interface CallItem {
  readonly kind: 'call';
  readonly id: string;
  readonly call: { readonly index: number; readonly id: string; readonly name: string };
  readonly json: string[];
}

/** What chunks become. The same whether events are sent or only their sum, `response`, is wanted. */
export class ResponseWriter {
  readonly #head: object;
  readonly #tokenizer: Tokenizer;
  readonly #output: object[] = [];
  /** Of tokens whose text has not come yet. */
  #infos: LogprobInfo[] = [];
  #item: TextItem | CallItem | undefined;
  #sequence = 0;
  #state: object = { status: 'in_progress' };

  /** @param head fields of the response that do not change */
  constructor(head: object, tokenizer: Tokenizer) {
    this.#head = {
      id: newId('resp_'),
      object: 'response',
      created_at: unixTime(),
      error: null,
      incomplete_details: null,
      ...head,
    };
    this.#tokenizer = tokenizer;
  }

  get response(): object {
    return { ...this.#head, ...this.#state, output: [...this.#output] };
  }

  begin(): ResponseEvent[] {
    const { response } = this;
    return [
      this.#event('response.created', { response }),
      this.#event('response.in_progress', { response }),
    ];
  }

  push({ text, toolCalls = [], logprobs = [] }: GenerationChunk): ResponseEvent[] {
    this.#infos.push(...logprobs);
    const events = toolCalls.flatMap((delta) => this.#pushCall(delta));
    if (text !== '') events.push(...this.#pushText(text));
    return events;
  }

  end({ finishReason: reason, message, usage }: ChatResult): ResponseEvent[] {
    const ended = finishReason(reason);
    const status = ended === 'stop' ? 'completed' : 'incomplete';
    const events: ResponseEvent[] = [];
    const isEmpty = this.#output.length === 0 && this.#item === undefined;
    // The end token has a log-probability, but no text.
    if (isEmpty || (this.#item?.kind === 'text' && this.#infos.length > 0)) {
      events.push(...this.#pushText(''));
    }
    const calls = message.tool_calls?.length ?? 0;
    const isWhole = this.#item?.kind === 'call' && this.#item.call.index < calls;
    events.push(...this.#close(isWhole ? 'completed' : status));
    const { promptTokens, cachedTokens, completionTokens } = usage;
    this.#state = {
      status,
      ...(status === 'completed' && { completed_at: unixTime() }),
      ...(status === 'incomplete' && {
        incomplete_details: { reason: ended === 'length' ? 'max_output_tokens' : ended },
      }),
      usage: {
        input_tokens: promptTokens,
        // Nobody pays for writing to the cache here, and it is not counted.
        input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
        output_tokens: completionTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: promptTokens + completionTokens,
      },
    };
    events.push(this.#event(`response.${status}`, { response: this.response }));
    return events;
  }

  fail({ status, message }: ApiError): ResponseEvent {
    const code =
      status === 429
        ? 'rate_limit_exceeded'
        : status < 500 && status !== 408
          ? 'invalid_prompt'
          : 'server_error';
    const cut = this.#item;
    if (cut !== undefined) this.#output.push(this.#written(cut, 'incomplete'));
    this.#item = undefined;
    this.#state = { status: 'failed', error: { code, message } };
    return this.#event('response.failed', { response: this.response });
  }

  #event(type: string, fields: object): ResponseEvent {
    return { type, sequence_number: this.#sequence++, ...fields };
  }

  #pushText(delta: string): ResponseEvent[] {
    const events: ResponseEvent[] = [];
    if (this.#item?.kind !== 'text') {
      const item: TextItem = { kind: 'text', id: newId('msg_'), text: [], logprobs: [] };
      events.push(...this.#open(item));
      events.push(
        this.#event('response.content_part.added', { ...this.#part(item), part: partOf('', []) }),
      );
    }
    const item = this.#item as TextItem;
    const logprobs = this.#takeLogprobs();
    if (delta === '' && logprobs.length === 0) return events;
    item.text.push(delta);
    item.logprobs.push(...logprobs);
    events.push(
      this.#event('response.output_text.delta', { ...this.#part(item), delta, logprobs }),
    );
    return events;
  }

  #pushCall({ index, id, name, arguments: json }: ToolCallDelta): ResponseEvent[] {
    const events: ResponseEvent[] = [];
    // Of calls no log-probabilities are given.
    this.#infos = [];
    if (this.#item?.kind !== 'call' || this.#item.call.index !== index) {
      const call = { index, id: id!, name: name! };
      events.push(...this.#open({ kind: 'call', id: newId('fc_'), call, json: [] }));
    }
    if (json === '') return events;
    const item = this.#item as CallItem;
    item.json.push(json);
    events.push(
      this.#event('response.function_call_arguments.delta', { ...this.#place(item), delta: json }),
    );
    return events;
  }

  #open(item: TextItem | CallItem): ResponseEvent[] {
    const events = this.#close('completed');
    this.#item = item;
    events.push(
      this.#event('response.output_item.added', {
        output_index: this.#output.length,
        item: this.#written(item, 'in_progress'),
      }),
    );
    return events;
  }

  #close(status: Status): ResponseEvent[] {
    const item = this.#item;
    if (item === undefined) return [];
    const events: ResponseEvent[] = [];
    if (item.kind === 'text') {
      const { logprobs } = item;
      const text = item.text.join('');
      const place = this.#part(item);
      events.push(
        this.#event('response.output_text.done', { ...place, text, logprobs }),
        this.#event('response.content_part.done', { ...place, part: partOf(text, logprobs) }),
      );
    } else {
      events.push(
        this.#event('response.function_call_arguments.done', {
          ...this.#place(item),
          name: item.call.name,
          arguments: item.json.join(''),
        }),
      );
    }
    const written = this.#written(item, status);
    events.push(
      this.#event('response.output_item.done', {
        output_index: this.#output.length,
        item: written,
      }),
    );
    this.#output.push(written);
    this.#item = undefined;
    return events;
  }

  #written(item: TextItem | CallItem, status: Status): object {
    const { id } = item;
    if (item.kind === 'text') {
      const content =
        status === 'in_progress' ? [] : [partOf(item.text.join(''), [...item.logprobs])];
      return { id, type: 'message', role: 'assistant', status, content };
    }
    const { call, json } = item;
    return {
      id,
      type: 'function_call',
      call_id: call.id,
      name: call.name,
      arguments: json.join(''),
      status,
    };
  }

  #place({ id }: TextItem | CallItem): object {
    return { item_id: id, output_index: this.#output.length };
  }

  #part(item: TextItem): object {
    return { ...this.#place(item), content_index: 0 };
  }

  #takeLogprobs(): object[] {
    const infos = this.#infos;
    this.#infos = [];
    return (chatLogprobs(this.#tokenizer, infos) as { readonly content: object[] }).content;
  }
}

function partOf(text: string, logprobs: readonly object[]): object {
  return { type: 'output_text', text, annotations: [], logprobs };
}
