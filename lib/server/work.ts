/** What a request has the models do, from its turn in the queue to its last token. */
import { setMaxListeners } from 'node:events';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Adapter } from '../model/adapter';
import type { Generation, GenerationChunk, GenerationResult } from '../model/generation';
import type { Ticket } from './admission';
import type { Metrics } from './metrics';
import type { Served } from './models';
import { ApiError, shuttingDown } from './protocol/errors';
import type { RequestSpan } from './tracing';

/** Nobody is there any more to be answered. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/** What all generations of a request have in common. */
export interface JobOptions {
  readonly signal: AbortSignal;
  readonly cacheSalt: string | undefined;
  readonly adapter: Adapter | undefined;
}

/** One generation of a request. */
export interface Job {
  /** Of its prompt, about: what the queue counts. */
  readonly promptTokens: number;
  start(options: JobOptions): Generation;
}

/** A piece of one of a request's generations, or its end. */
export interface WorkEvent {
  /** Which of the jobs. */
  readonly index: number;
  readonly chunk?: GenerationChunk;
  readonly result?: GenerationResult;
}

/** Tokens of a text, about, where counting them exactly would take too long: English has 4 characters each. */
export function aboutTokens(text: string): number {
  return Math.ceil(text.length / 4);
}

export interface WorkOptions {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly served: Served;
  readonly key: string;
  readonly metrics: Metrics;
  readonly span: RequestSpan | undefined;
  readonly timeoutMs: number;
  /** Aborted when the server ends and does not wait any longer. */
  readonly ending: AbortSignal;
  readonly logPrompts: boolean;
}

/** A request's work. Ends with the client, the time limit, or the server. */
export class Work {
  readonly signal: AbortSignal;
  readonly #options: WorkOptions;
  readonly #controller = new AbortController();
  readonly #startedAt = performance.now();
  /** What a model's option `cacheSalt` is: clients of one key may learn of each other, others not. */
  readonly cacheSalt: string | undefined;

  constructor(options: WorkOptions) {
    this.#options = options;
    this.signal = this.#controller.signal;
    // As many as there are answers.
    setMaxListeners(0, this.signal);
    this.cacheSalt = options.key === '' ? undefined : options.key;
    const { reply, timeoutMs, ending } = options;
    const stop = (reason: Error) => {
      this.#controller.abort(reason);
    };
    const timer = setTimeout(() => {
      const message = `the request took longer than ${timeoutMs / 1000} s`;
      stop(new ApiError(408, message, { code: 'request_timeout' }));
    }, timeoutMs).unref();
    const onEnding = () => {
      stop(shuttingDown());
    };
    ending.addEventListener('abort', onEnding, { once: true });
    reply.raw.once('close', () => {
      clearTimeout(timer);
      ending.removeEventListener('abort', onEnding);
      stop(new ClientGone('the client has gone'));
    });
  }

  /**
   * Runs the jobs, each when its turn comes, and gives their pieces as they come.
   * @throws ApiError; ClientGone; what a generation fails with
   */
  async *run(jobs: readonly Job[]): AsyncGenerator<WorkEvent, void, undefined> {
    const { served, key } = this.#options;
    const counts = jobs.map((job) => job.promptTokens);
    const tickets = served.admission.admit(key, counts, this.signal);
    for (const ticket of tickets) ticket.catch(() => undefined);
    const { logPrompts, request, span } = this.#options;
    span?.accepted(served.name, request.body as object);
    if (logPrompts) request.log.info({ body: request.body }, 'prompt');
    try {
      const streams = jobs.map((job, index) => this.#one(job, tickets[index]!, index));
      yield* streams.length === 1 ? streams[0]! : merge(streams);
    } finally {
      this.#controller.abort(new ClientGone('the request has ended'));
      // Slots of jobs that never began.
      for (const ticket of tickets) {
        ticket.then(
          (slot) => {
            slot.end();
          },
          () => undefined,
        );
      }
    }
  }

  /** Does something else in the model's queue, as one request. */
  async use<T>(promptTokens: number, body: () => Promise<T>): Promise<T> {
    const { served, key } = this.#options;
    const slot = await served.admission.admit(key, [promptTokens], this.signal)[0]!;
    try {
      return await body();
    } finally {
      slot.end();
    }
  }

  async *#one(job: Job, ticket: Promise<Ticket>, index: number): AsyncGenerator<WorkEvent> {
    const { served, key, metrics, span, logPrompts, request } = this.#options;
    const slot = await ticket;
    span?.started();
    const queuedMs = performance.now() - this.#startedAt;
    let last: number | undefined;
    try {
      const { adapter } = served;
      if (adapter?.disposed === true) throw adapterGone(served.name);
      const generation = job.start({ signal: this.signal, cacheSalt: this.cacheSalt, adapter });
      for await (const chunk of generation) {
        const now = performance.now();
        span?.token();
        if (last === undefined) metrics.firstToken(served.name, now - this.#startedAt);
        else if (chunk.tokenIds.length > 0) {
          metrics.nextTokens(served.name, now - last, chunk.tokenIds.length);
        }
        last = now;
        if (chunk.finishReason === 'aborted') {
          throw this.signal.aborted ? this.signal.reason : new ClientGone('aborted');
        }
        yield { index, chunk };
      }
      const result = await generation.result();
      const { promptTokens, completionTokens } = result.usage;
      span?.finished(index, result);
      served.admission.charge(key, promptTokens + completionTokens);
      metrics.finished(served.name, result, {
        queuedMs,
        totalMs: performance.now() - this.#startedAt,
      });
      if (logPrompts) request.log.info({ index, answer: result.text }, 'answer');
      yield { index, result };
    } catch (error) {
      if (this.signal.aborted) metrics.aborted(served.name);
      throw error;
    } finally {
      slot.end();
    }
  }
}

/** For a request that waited while its adapter was unloaded. */
function adapterGone(name: string): ApiError {
  const message = `the adapter '${name}' was unloaded`;
  return new ApiError(404, message, { param: 'model', code: 'model_not_found' });
}

/** Items of all as they come. Ends the others when one fails. */
async function* merge<T>(streams: readonly AsyncGenerator<T>[]): AsyncGenerator<T> {
  const pull = async (stream: AsyncGenerator<T>) => ({ stream, item: await stream.next() });
  const pending = new Map(streams.map((stream) => [stream, pull(stream)]));
  try {
    while (pending.size > 0) {
      const { stream, item } = await Promise.race(pending.values());
      if (item.done === true) {
        pending.delete(stream);
      } else {
        pending.set(stream, pull(stream));
        yield item.value;
      }
    }
  } finally {
    for (const [stream, item] of pending) {
      item.catch(() => undefined);
      // Queued behind a next() that waits: its generation is aborted, so that it comes to an end.
      stream.return(undefined).catch(() => undefined);
    }
  }
}
