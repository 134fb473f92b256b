/** The server: what every request passes through, and the routes. */
import { EventEmitter, once, setMaxListeners } from 'node:events';
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import fastifyCors from '@fastify/cors';
import fastifySwagger from '@fastify/swagger';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { newId, type Context } from './context';
import { keyIn, Keys } from './keys';
import { hostName, isLoopback } from './loopback';
import { Metrics } from './metrics';
import { ModelTable, type Models } from './models';
import { checkServerOptions, type ServerOptions, type Settings } from './options';
import { ApiError, apiError, shuttingDown } from './protocol/errors';
import { schemaError } from './protocol/fields';
import { readRest } from './read-rest';
import { adapterRoutes } from './routes/adapters';
import { chatRoutes } from './routes/chat';
import { completionRoutes } from './routes/completions';
import { embeddingRoutes } from './routes/embeddings';
import { fimRoutes } from './routes/fim';
import { messageRoutes } from './routes/messages';
import { modelRoutes, stateRoutes } from './routes/models';
import { moderationRoutes } from './routes/moderations';
import { pageRoutes } from './routes/page';
import { responseRoutes } from './routes/responses';
import { tokenRoutes } from './routes/tokens';
import { Tracing, type Operation } from './tracing';
import { ClientGone } from './work';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers without a key. */
    readonly isOpen?: boolean;
    /** Answers 401 by itself, with a page that asks for a key. */
    readonly asksForKey?: boolean;
    /** The field that errors about prompts are of. */
    readonly promptField?: string | undefined;
    /** Of a route that generates. */
    readonly operation?: Operation | undefined;
    /** Errors of an API that is not OpenAI's. */
    readonly errorBody?: ((error: ApiError, requestId: string) => object) | undefined;
  }
}

/** A fastify instance that serves models. */
export type Server = FastifyInstance & {
  /**
   * Takes no more requests, lets those that run or wait come to their end, and closes.
   * @param seconds after which those that are left are aborted; 0: at once
   */
  drain(seconds: number): Promise<void>;
};

/** Node's own 5 s would end connections that load balancers are about to use. */
const KEEP_ALIVE_MS = 72_000;
/** How often Node looks for clients that take too long to send, at most. */
const CHECKING_MS = 1000;

/** By Node's codes: what is answered before there is a request. ASCII. */
const BAD_REQUESTS: Readonly<Record<string, readonly [number, string, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are too large', 'headers_too_large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not come to its end in time', 'request_timeout'],
};
const BAD_REQUEST = [400, 'this is no request of HTTP', 'invalid_request'] as const;

/** Of a body that is too large, what is waited for before that is said. */
const REST_BYTES = 64 * 2 ** 20;
/** Time for what is aborted at the end to say so to its client. */
const LAST_WORDS_S = 2;

/**
 * A server of models with OpenAI's API: `await createServer(model).listen({ port: 8000 })`. The
 * models stay the caller's, to be disposed of after it is closed.
 * @throws TramontaneError INVALID_OPTION
 */
export function createServer(models: Models, options: ServerOptions = {}): Server {
  const settings = checkServerOptions(options);
  const table = new ModelTable(models, settings);
  const keys = new Keys(settings.apiKeys);
  const metrics = new Metrics(table.all);
  const tracing = new Tracing();
  const ending = new AbortController();
  // As many as there are requests.
  setMaxListeners(0, ending.signal);
  const names = new WeakMap<FastifyRequest, string>();
  let draining = false;
  let active = 0;
  const idle = new EventEmitter();

  const receiveMs = settings.receiveTimeout * 1000;
  const headersMs = Math.min(settings.headersTimeout * 1000, receiveMs);
  const app = fastify({
    logger: settings.logger as boolean,
    bodyLimit: settings.bodyLimit,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: receiveMs,
    http: {
      headersTimeout: headersMs,
      requestTimeout: receiveMs,
      connectionsCheckingInterval: Math.min(CHECKING_MS, headersMs),
    },
    clientErrorHandler: answerBadRequest,
    // An address that cannot be decoded, which is before there is a route.
    frameworkErrors: ({ message }, _request, reply: FastifyReply) => {
      void reply.code(400).send(new ApiError(400, message, { code: 'bad_url' }).body);
    },
    genReqId: requestId,
    requestIdHeader: false,
    // Also those that have had no request yet, which browsers and fetch() open beforehand: to Node
    // they are not idle. Requests that run are waited for before.
    forceCloseConnections: true,
    // It would be of fastify's own form.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1024 },
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        strict: false,
      },
    },
  });

  // JSON alone, or a page of another origin could post without being asked first (CORS).
  app.removeContentTypeParser('text/plain');
  app.setSchemaErrorFormatter((errors) => schemaError(errors[0]!));
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id);
    const { operation } = request.routeOptions.config;
    if (operation !== undefined) tracing.begin(request, reply, operation);
    // Anthropic's name of it, on its routes.
    if (request.routeOptions.config.errorBody) void reply.header('request-id', request.id);
    checkHost(request, settings);
    const key = checkKey(request, keys, settings);
    names.set(request, key);
    if (key !== '') request.log = reply.log = request.log.child({ key });
    if (request.routeOptions.config.isOpen === true) {
      done();
      return;
    }
    if (draining) {
      // Its next request would find nobody.
      void reply.header('connection', 'close');
      throw shuttingDown();
    }
    if (operation !== undefined) table.refuseFull(key);
    active += 1;
    reply.raw.once('close', () => {
      active -= 1;
      if (active === 0) idle.emit('idle');
    });
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    metrics.answered(request.method, request.routeOptions.url ?? 'none', reply.statusCode);
    done();
  });
  app.setErrorHandler(async (error, request, reply) => {
    const { statusCode } = error as FastifyError;
    if (statusCode === 413) await readRest(request.raw, REST_BYTES);
    return answerError(error as Error, request, reply, tracing);
  });
  app.setNotFoundHandler((request) => {
    const message = `there is no ${request.method} ${request.url.split('?')[0]!}`;
    throw new ApiError(404, message, { code: 'not_found' });
  });

  if (settings.allowedOrigins.length > 0) {
    const origins = settings.allowedOrigins;
    void app.register(fastifyCors, {
      origin: origins.includes('*') ? '*' : [...origins],
      credentials: false,
      exposedHeaders: ['x-request-id', 'retry-after'],
    });
  }
  void app.register(fastifySwagger, {
    openapi: { openapi: '3.1.0', info: { title: 'tramontane', version: '1' } },
  });
  void app.register((scope, _, done) => {
    const context: Context & { isDraining(): boolean } = {
      app: scope,
      settings,
      models: table,
      metrics,
      tracing,
      ending: ending.signal,
      keyOf: (request) => names.get(request) ?? '',
      isDraining: () => draining,
    };
    stateRoutes(context);
    modelRoutes(context);
    completionRoutes(context);
    chatRoutes(context);
    responseRoutes(context);
    messageRoutes(context);
    embeddingRoutes(context);
    fimRoutes(context);
    moderationRoutes(context);
    tokenRoutes(context);
    if (settings.allowAdapterLoading) adapterRoutes(context);
    if (settings.ui) pageRoutes(context);
    scope.get('/openapi.json', { schema: { summary: 'This description.' } }, () => app.swagger());
    done();
  });

  const untilIdle = async (seconds: number): Promise<void> => {
    if (active === 0) return;
    const signal = AbortSignal.timeout(seconds * 1000);
    await once(idle, 'idle', { signal }).catch(() => undefined);
  };
  const drain = async (seconds: number): Promise<void> => {
    draining = true;
    await untilIdle(seconds);
    await app.close();
  };
  app.addHook('preClose', async () => {
    draining = true;
    ending.abort();
    await untilIdle(LAST_WORDS_S);
  });
  return Object.assign(app, { drain });
}

/** The client's own id of a request, if it is one that may stand in a log. */
function requestId({ headers }: IncomingMessage): string {
  const id = headers['x-request-id'];
  return typeof id === 'string' && /^[\w.:-]{1,128}$/.test(id) ? id : newId('req-');
}

/**
 * A page of somebody else's that a name leads to this machine (DNS rebinding) sends that name.
 * @throws ApiError 403
 */
function checkHost(request: FastifyRequest, { allowedHosts, apiKeys }: Settings): void {
  const name = hostName(request.headers.host ?? '');
  if (allowedHosts.length > 0) {
    if (allowedHosts.some((allowed) => allowed.toLowerCase() === name)) return;
  } else {
    const isLocal = isLoopback(request.socket.localAddress ?? '');
    if (apiKeys.length > 0 || !isLocal || isLoopback(name)) return;
  }
  throw new ApiError(403, 'the server is not to be called by this host name: see --allowed-hosts', {
    code: 'host_not_allowed',
  });
}

/** What browsers ask before a page of an allowed origin may send its key (CORS). */
function isPreflight({ method, headers }: FastifyRequest, { allowedOrigins }: Settings): boolean {
  const isAsking = headers['access-control-request-method'] !== undefined;
  return allowedOrigins.length > 0 && method === 'OPTIONS' && isAsking;
}

/** @throws ApiError 401 */
function checkKey(request: FastifyRequest, keys: Keys, settings: Settings): string {
  const { isOpen = false, asksForKey = false } = request.routeOptions.config;
  if (keys.count === 0 || isOpen || asksForKey || isPreflight(request, settings)) return '';
  const key = keyIn(request.headers);
  const name = key === undefined ? undefined : keys.nameOf(key);
  if (name !== undefined) return name;
  const problem = key === undefined ? 'an API key is missing' : 'the API key is wrong';
  const message = `${problem}: send the header "Authorization: Bearer KEY"`;
  throw new ApiError(401, message, { code: 'invalid_api_key' });
}

/** Answers what is no request of HTTP, or did not come to its end, and closes. */
function answerBadRequest({ code = '' }: NodeJS.ErrnoException, socket: Socket): void {
  const [status, message, name] = BAD_REQUESTS[code] ?? BAD_REQUEST;
  if (socket.writable && code !== 'ECONNRESET') {
    const body = JSON.stringify(new ApiError(status, message, { code: name }).body);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]!}`,
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

function answerError(
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
  tracing: Tracing,
): FastifyReply {
  if (error instanceof ClientGone) {
    reply.raw.destroy();
    return reply.hijack();
  }
  const known = knownError(error, request);
  tracing.of(request)?.failed(known);
  // What the server means to say is no failure of it.
  if (known.status >= 500 && known.status !== 503 && !(error instanceof ApiError)) {
    request.log.error({ err: error }, 'a request failed');
  }
  if (known.retryAfter !== undefined) void reply.header('retry-after', String(known.retryAfter));
  if (known.status === 401) void reply.header('www-authenticate', 'Bearer');
  const { errorBody } = request.routeOptions.config;
  return reply.code(known.status).send(errorBody?.(known, request.id) ?? known.body);
}

function knownError(error: Error, request: FastifyRequest): ApiError {
  const { code = '', statusCode = 500 } = error as Partial<FastifyError>;
  if (code.startsWith('FST_') && statusCode < 500) {
    return new ApiError(statusCode, error.message, {
      code: code.replace('FST_ERR_', '').toLowerCase(),
    });
  }
  if (error instanceof SyntaxError && statusCode === 400) {
    return new ApiError(400, `the body is no JSON: ${error.message}`, { code: 'invalid_json' });
  }
  return apiError(error, request.routeOptions.config.promptField, Object(request.body) as object);
}
