/** What the routes of a server share. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Metrics } from './metrics';
import type { ModelTable, Served } from './models';
import type { Settings } from './options';
import { apiError, type ApiError } from './protocol/errors';
import { EventStream } from './protocol/event-stream';
import { bodySchema, checkDepth, refuseFields, withoutNulls, type Fields } from './protocol/fields';
import type { Operation, Tracing } from './tracing';
import { ClientGone, Work } from './work';

export interface Context {
  readonly app: FastifyInstance;
  readonly settings: Settings;
  readonly models: ModelTable;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  /** Aborted when running requests are not waited for any longer. */
  readonly ending: AbortSignal;
  /** The name of the key of a request that was let in. */
  keyOf(request: FastifyRequest): string;
}

/** A route of the API that takes a body. */
export interface BodyRoute<B> {
  readonly path: string;
  readonly summary: string;
  readonly fields: Fields;
  readonly required: readonly string[];
  /** The field that errors about prompts are of. */
  readonly promptField?: string;
  /** Of a route that generates. */
  readonly operation?: Operation;
  /** Errors of an API that is not OpenAI's. */
  readonly errorBody?: (error: ApiError, requestId: string) => object;
  answer(body: B, call: Call): Promise<object | undefined>;
}

/** A request that was checked, and how it is worked on and answered. */
export class Call {
  readonly context: Context;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;

  constructor(context: Context, request: FastifyRequest, reply: FastifyReply) {
    this.context = context;
    this.request = request;
    this.reply = reply;
  }

  work(served: Served): Work {
    const { settings, metrics, tracing, ending } = this.context;
    return new Work({
      request: this.request,
      reply: this.reply,
      served,
      key: this.context.keyOf(this.request),
      metrics,
      span: tracing.of(this.request),
      timeoutMs: settings.requestTimeout * 1000,
      ending,
      logPrompts: settings.logPrompts,
    });
  }

  /**
   * Answers with events. What goes wrong before the first is an answer of its own, afterwards the
   * last event.
   */
  async stream(
    body: (stream: EventStream) => Promise<void>,
    failed: (error: ApiError) => { readonly data: object; readonly event?: string } = (error) => ({
      data: error.body,
    }),
  ): Promise<undefined> {
    const { settings } = this.context;
    const stream = new EventStream(this.reply.raw, {
      headers: this.reply.getHeaders(),
      pingMs: settings.pingInterval * 1000,
      slowReaderMs: settings.slowReaderTimeout * 1000,
    });
    try {
      await body(stream);
      this.reply.hijack();
    } catch (error) {
      if (!stream.isOpen) throw error;
      this.reply.hijack();
      if (!this.reply.raw.destroyed && !(error instanceof ClientGone)) {
        const known = apiError(error);
        if (known.status >= 500) this.request.log.error({ err: error }, 'a stream failed');
        this.context.tracing.of(this.request)?.failed(known);
        const { data, event } = failed(known);
        await stream.send(data, event).catch(() => undefined);
      }
      // Of one that does not read, nothing is waited for.
      if (this.reply.raw.writableNeedDrain) this.reply.raw.destroy();
    } finally {
      stream.end();
    }
    return undefined;
  }
}

/** Adds a route that takes a JSON body. */
export function addRoute<B>(context: Context, route: BodyRoute<B>): void {
  const { app, settings } = context;
  app.post(
    route.path,
    {
      schema: {
        summary: route.summary,
        body: bodySchema(route.fields, route.required, settings.lenient),
      },
      config: {
        promptField: route.promptField,
        operation: route.operation,
        errorBody: route.errorBody,
      },
      preValidation: (request, _reply, done) => {
        checkDepth(request.body);
        request.body = withoutNulls(request.body);
        done();
      },
    },
    async (request, reply) => {
      const body = request.body as object;
      if (!settings.lenient) refuseFields(route.fields, body);
      const answer = await route.answer(body as B, new Call(context, request, reply));
      return answer === undefined ? reply : reply.send(answer);
    },
  );
}

/** An id of an answer: `cmpl-` and 24 letters and digits, of 90 random bits (Node keeps some at hand). */
export function newId(prefix: string): string {
  return prefix + randomUUID().replaceAll('-', '').slice(8);
}

/** Now, as answers have it. */
export function unixTime(): number {
  return Math.floor(Date.now() / 1000);
}
