/**
 * Spans and metrics of requests for OpenTelemetry, by its conventions for generative AI, where
 * `@opentelemetry/api` is installed. Without an SDK that is registered with it, nothing is kept.
 */
import type * as OpenTelemetry from '@opentelemetry/api';
import type { Attributes, Histogram, Span } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ChatResult, GenerationResult } from '../model/generation';
import type { ApiError } from './protocol/errors';
import { finishReason } from './protocol/usage';

type Api = typeof OpenTelemetry;

/** What a route does, as `gen_ai.operation.name` has it. */
export type Operation = 'chat' | 'text_completion';

/** Powers of two from a hundredth of a second. */
const REQUEST_S = Array.from({ length: 14 }, (_, power) => 0.01 * 2 ** power);
const FIRST_TOKEN_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];
const TOKEN_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];

/** Numbers and flags of a body, by the attributes they are. What users write is not among them. */
const FIELDS: Readonly<Record<string, string>> = {
  frequency_penalty: 'gen_ai.request.frequency_penalty',
  max_completion_tokens: 'gen_ai.request.max_tokens',
  max_output_tokens: 'gen_ai.request.max_tokens',
  max_tokens: 'gen_ai.request.max_tokens',
  presence_penalty: 'gen_ai.request.presence_penalty',
  random_seed: 'gen_ai.request.seed',
  seed: 'gen_ai.request.seed',
  stream: 'gen_ai.request.stream',
  temperature: 'gen_ai.request.temperature',
  top_k: 'gen_ai.request.top_k',
  top_p: 'gen_ai.request.top_p',
};

/** The API, which is one for the process: what is registered with it is seen here. */
function openTelemetry(): Api | undefined {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return require('@opentelemetry/api') as Api;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}

interface Histograms {
  readonly duration: Histogram;
  readonly firstToken: Histogram;
  readonly perToken: Histogram;
}

/** All requests of a server. */
export class Tracing {
  readonly #api = openTelemetry();
  readonly #spans = new WeakMap<FastifyRequest, RequestSpan>();
  #histograms: Histograms | undefined;

  /** Begins the span of a request, which ends with its answer. */
  begin(request: FastifyRequest, reply: FastifyReply, operation: Operation): void {
    const api = this.#api;
    if (api === undefined) return;
    const active = api.context.active();
    // An instrumentation of HTTP has begun a span of its own, and read the headers.
    const isInside = api.trace.getSpan(active) !== undefined;
    const parent = isInside ? active : api.propagation.extract(active, request.headers);
    const attributes = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': 'tramontane',
      'server.address': request.hostname,
      'server.port': request.socket.localPort,
      'http.request.method': request.method,
      'http.route': request.routeOptions.url,
    };
    const kind = isInside ? api.SpanKind.INTERNAL : api.SpanKind.SERVER;
    const span = api.trace
      .getTracer('tramontane')
      .startSpan(operation, { kind, attributes }, parent);
    const whole = new RequestSpan(api, span, operation, this.#metrics(api));
    this.#spans.set(request, whole);
    reply.raw.once('close', () => {
      whole.end(reply.raw.statusCode, reply.raw.writableEnded);
    });
  }

  of(request: FastifyRequest): RequestSpan | undefined {
    return this.#spans.get(request);
  }

  /** Made with the first request: before an SDK is registered they would count nothing for ever. */
  #metrics(api: Api): Histograms {
    if (this.#histograms !== undefined) return this.#histograms;
    const meter = api.metrics.getMeter('tramontane');
    const histogram = (name: string, description: string, boundaries: readonly number[]) =>
      meter.createHistogram(`gen_ai.server.${name}`, {
        unit: 's',
        description,
        advice: { explicitBucketBoundaries: [...boundaries] },
      });
    this.#histograms = {
      duration: histogram('request.duration', 'From the request to its last token.', REQUEST_S),
      firstToken: histogram(
        'time_to_first_token',
        'From the request to its first token.',
        FIRST_TOKEN_S,
      ),
      perToken: histogram('time_per_output_token', 'Of each token after the first.', TOKEN_S),
    };
    return this.#histograms;
  }
}

/** One request that generates. */
export class RequestSpan {
  readonly #api: Api;
  readonly #span: Span;
  readonly #operation: Operation;
  readonly #histograms: Histograms;
  readonly #startedAt = performance.now();
  #model: string | undefined;
  #choices = 1;
  #firstTokenAt: number | undefined;
  #inputTokens = 0;
  #cachedTokens = 0;
  #outputTokens = 0;
  readonly #reasons: string[] = [];
  #error: string | undefined;

  constructor(api: Api, span: Span, operation: Operation, histograms: Histograms) {
    this.#api = api;
    this.#span = span;
    this.#operation = operation;
    this.#histograms = histograms;
  }

  /**
   * The request was checked, and is this model's to answer.
   * @param model its name: what a request calls it is the client's to choose
   */
  accepted(model: string, body: object): void {
    this.#model = model;
    this.#span.updateName(`${this.#operation} ${model}`);
    const asked: Attributes = { 'gen_ai.request.model': model, 'gen_ai.response.model': model };
    for (const [field, value] of Object.entries(body)) {
      if (!Object.hasOwn(FIELDS, field)) continue;
      if (typeof value === 'number' || typeof value === 'boolean') asked[FIELDS[field]!] = value;
    }
    const { n } = body as { readonly n?: number };
    if (n !== undefined && n !== 1) asked['gen_ai.request.choice.count'] = this.#choices = n;
    this.#span.setAttributes(asked);
  }

  /** One of its generations has left the queue. */
  started(): void {
    this.#span.addEvent('started');
  }

  /** Tokens have come, of any of its generations. */
  token(): void {
    if (this.#firstTokenAt !== undefined) return;
    this.#firstTokenAt = performance.now();
    const seconds = (this.#firstTokenAt - this.#startedAt) / 1000;
    this.#span.addEvent('first token');
    this.#span.setAttribute('gen_ai.response.time_to_first_chunk', seconds);
    this.#histograms.firstToken.record(seconds, this.#labels());
  }

  /** @param index of the generation: the choices of a prompt, which share it, are neighbours */
  finished(index: number, result: GenerationResult): void {
    const { promptTokens, cachedTokens, completionTokens } = result.usage;
    if (index % this.#choices === 0) {
      this.#inputTokens += promptTokens;
      this.#cachedTokens += cachedTokens;
    }
    this.#outputTokens += completionTokens;
    const reason = finishReason(result.finishReason);
    const calls = (result as Partial<ChatResult>).message?.tool_calls !== undefined;
    this.#reasons[index] = reason === 'stop' && calls ? 'tool_calls' : reason;
  }

  /** It is answered with an error, or its stream ends with one. */
  failed(error: ApiError): void {
    this.#error = error.code ?? String(error.status);
    if (error.status >= 500) this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
  }

  /** @param isWhole whether it was answered to the end */
  end(status: number, isWhole: boolean): void {
    if (!isWhole) this.#error ??= 'client_gone';
    this.#span.setAttribute('http.response.status_code', status);
    if (this.#error !== undefined) this.#span.setAttribute('error.type', this.#error);
    if (this.#reasons.length > 0) {
      this.#span.setAttributes({
        'gen_ai.usage.input_tokens': this.#inputTokens,
        'gen_ai.usage.cache_read.input_tokens': this.#cachedTokens,
        'gen_ai.usage.output_tokens': this.#outputTokens,
        'gen_ai.response.finish_reasons': this.#reasons.filter(Boolean),
      });
    }
    this.#span.end();
    const now = performance.now();
    const labels = this.#labels();
    this.#histograms.duration.record((now - this.#startedAt) / 1000, labels);
    const rest = this.#outputTokens - this.#reasons.length;
    if (this.#firstTokenAt !== undefined && rest > 0 && this.#error === undefined) {
      // Of choices that run side by side, each has its share.
      const each = rest / this.#reasons.length;
      this.#histograms.perToken.record((now - this.#firstTokenAt) / 1000 / each, labels);
    }
  }

  #labels(): Attributes {
    const error = this.#error === undefined ? {} : { 'error.type': this.#error };
    const model = this.#model === undefined ? {} : { 'gen_ai.request.model': this.#model };
    return {
      'gen_ai.operation.name': this.#operation,
      'gen_ai.provider.name': 'tramontane',
      ...model,
      ...error,
    };
  }
}
