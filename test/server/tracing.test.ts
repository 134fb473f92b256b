/** Spans and metrics as an SDK of OpenTelemetry gets them. */
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import { Model } from '../../lib/index';
import { createServer, type Server, type ServerOptions } from '../../lib/server';
import type * as TracingModule from '../../lib/server/tracing';

const EMBEDDED = join(__dirname, '../../models/breeze-Q4_0.gguf');
const PROMPT = 'Once upon a time, said nobody,';

const spans = new InMemorySpanExporter();
const exported = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: exported });

let model: Model;
const servers: Server[] = [];
beforeAll(async () => {
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }),
  );
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  model = await Model.load(EMBEDDED, { maxRunning: 4 });
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  spans.reset();
});
afterAll(async () => {
  await model.dispose();
  await reader.shutdown();
  trace.disable();
  metrics.disable();
  propagation.disable();
  context.disable();
});

function serve(options: ServerOptions = {}): Server {
  const server = createServer({ breeze: model }, options);
  servers.push(server);
  return server;
}

async function spanOf(
  url: string,
  payload: object | string,
  headers: Record<string, string> = {},
): Promise<ReadableSpan> {
  await serve().inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', host: 'models.example:8000', ...headers },
    payload,
  });
  const [span, ...others] = spans.getFinishedSpans();
  expect(others).toEqual([]);
  return span!;
}

test('a completion is a span with what was asked for and used, and nothing that was written', async () => {
  const span = await spanOf('/v1/completions', {
    prompt: [PROMPT, 'The dog'],
    n: 2,
    max_tokens: 5,
    temperature: 0.5,
    seed: 7,
    stop: ['never'],
    user: 'somebody',
  });
  expect([span.name, span.kind]).toEqual(['text_completion breeze', SpanKind.SERVER]);
  const count = (text: string) => model.tokenizer.encode(text, { bos: true }).length;
  expect(span.attributes).toMatchObject({
    'gen_ai.operation.name': 'text_completion',
    'gen_ai.provider.name': 'tramontane',
    'gen_ai.request.model': 'breeze',
    'gen_ai.request.max_tokens': 5,
    'gen_ai.request.temperature': 0.5,
    'gen_ai.request.seed': 7,
    'gen_ai.request.choice.count': 2,
    'gen_ai.usage.input_tokens': count(PROMPT) + count('The dog'),
    'gen_ai.usage.output_tokens': 20,
    'gen_ai.response.finish_reasons': ['length', 'length', 'length', 'length'],
    'server.address': 'models.example',
    'http.request.method': 'POST',
    'http.route': '/v1/completions',
    'http.response.status_code': 200,
  });
  expect(span.attributes['gen_ai.response.time_to_first_chunk']).toBeGreaterThan(0);
  expect(span.events.filter(({ name }) => name === 'first token')).toHaveLength(1);
  expect(span.attributes).not.toHaveProperty(['error.type']);
  expect(JSON.stringify([span.attributes, span.events])).not.toMatch(/nobody|dog|never|somebody/);
});

test.each([
  ['/v1/chat/completions', { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }],
  ['/v1/responses', { input: 'Hi', max_output_tokens: 3 }],
  ['/v1/messages', { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }],
])('%s is a chat, streamed too', async (url, body) => {
  const span = await spanOf(url, { ...body, ignore_eos: true, stream: true });
  expect(span.name).toBe('chat breeze');
  expect(span.attributes).toMatchObject({
    'gen_ai.request.stream': true,
    'gen_ai.request.max_tokens': 3,
    'gen_ai.usage.output_tokens': 3,
    'gen_ai.response.finish_reasons': ['length'],
  });
});

test('calls of tools are its reason to end', async () => {
  const parameters = { type: 'object', properties: {}, additionalProperties: false };
  const span = await spanOf('/v1/chat/completions', {
    messages: [{ role: 'user', content: 'Hi' }],
    tools: [{ type: 'function', function: { name: 'call', parameters } }],
    tool_choice: 'required',
    parallel_tool_calls: false,
  });
  expect(span.attributes['gen_ai.response.finish_reasons']).toEqual(['tool_calls']);
});

test("its parent is the client's, by the header traceparent", async () => {
  const [traceId, parentId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  const span = await spanOf(
    '/v1/completions',
    { prompt: 'A', max_tokens: 1 },
    { traceparent: `00-${traceId}-${parentId}-01` },
  );
  expect(span.spanContext().traceId).toBe(traceId);
  expect(span.parentSpanContext).toMatchObject({ spanId: parentId, isRemote: true });
});

test('requests that are refused say why, by a code; the server is not to blame', async () => {
  const span = await spanOf('/v1/completions', { prompt: 'A', max_tokens: 1, model: 'no such' });
  expect(span.name).toBe('text_completion');
  expect(span.attributes).toMatchObject({
    'error.type': 'model_not_found',
    'http.response.status_code': 404,
  });
  expect(span.attributes).not.toHaveProperty(['gen_ai.request.model']);
  expect(span.status.code).toBe(SpanStatusCode.UNSET);
});

test('a request that the end of the server ends is an error', async () => {
  const server = serve();
  const answered = server.inject({
    method: 'POST',
    url: '/v1/completions',
    payload: { prompt: 'A', max_tokens: 4000, ignore_eos: true },
  });
  while (model.info.requests.running === 0) await new Promise(setImmediate);
  await server.drain(0);
  await answered;
  const [span] = spans.getFinishedSpans();
  expect(span!.status.code).toBe(SpanStatusCode.ERROR);
  expect(span!.attributes).toMatchObject({
    'error.type': 'shutting_down',
    'http.response.status_code': 503,
  });
});

test('so does a client that goes', async () => {
  const server = serve();
  await server.listen({ port: 0 });
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  const body = JSON.stringify({ prompt: 'A', max_tokens: 4000, ignore_eos: true, stream: true });
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await once(socket, 'data');
  socket.destroy();
  while (spans.getFinishedSpans().length === 0) await new Promise(setImmediate);
  expect(spans.getFinishedSpans()[0]!.attributes).toMatchObject({ 'error.type': 'client_gone' });
});

test('other routes have none', async () => {
  const server = serve();
  await server.inject({ url: '/v1/models' });
  await server.inject({ method: 'POST', url: '/tokenize', payload: { prompt: 'A' } });
  expect(spans.getFinishedSpans()).toEqual([]);
});

test('durations are counted by the names of the conventions', async () => {
  await spanOf('/v1/completions', { prompt: 'A', max_tokens: 4, ignore_eos: true });
  await reader.forceFlush();
  const found = exported
    .getMetrics()
    .at(-1)!
    .scopeMetrics.flatMap(({ metrics: all }) => all)
    .map(({ descriptor, dataPoints }) => [descriptor.name, descriptor.unit, dataPoints.length > 0]);
  expect(found).toEqual([
    ['gen_ai.server.request.duration', 's', true],
    ['gen_ai.server.time_to_first_token', 's', true],
    ['gen_ai.server.time_per_output_token', 's', true],
  ]);
});

test('without the API nothing is traced', () => {
  jest.resetModules();
  jest.doMock('@opentelemetry/api', () => {
    throw Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' });
  });
  const { Tracing } = jest.requireActual<typeof TracingModule>('../../lib/server/tracing');
  const tracing = new Tracing();
  const request = {} as never;
  tracing.begin(request, {} as never, 'chat');
  expect(tracing.of(request)).toBeUndefined();
});
