/** Answers against OpenAI's published description of its API. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Written as OpenAPI 3.0 has it: 3.1 knows types with null alone. */
function withNullTypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNullTypes);
  if (typeof value !== 'object' || value === null) return value;
  const { nullable, ...rest } = Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withNullTypes(inner)]),
  );
  return nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest;
}

const ajv = new Ajv({ strict: false, validateFormats: false });
const description = readFileSync(join(__dirname, '../fixtures/openai/openai.json'), 'utf8');
ajv.addSchema(withNullTypes(JSON.parse(description)) as object, 'openai');

/** The description has no schema of them; its examples and clients have these four, each present. */
const ERROR = ajv.compile({
  type: 'object',
  required: ['error'],
  additionalProperties: false,
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      additionalProperties: false,
      properties: {
        message: { type: 'string', minLength: 1 },
        type: { type: 'string', minLength: 1 },
        param: { type: ['string', 'null'] },
        code: { type: ['string', 'null'] },
      },
    },
  },
});

type Validate = ReturnType<typeof ajv.compile>;

function problemsOf(validate: Validate, value: unknown): string[] {
  if (validate(value)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message }) => `${instancePath} ${message ?? ''}`,
  );
}

function schemaOf(name: string): Validate {
  const validate = ajv.getSchema(`openai#/components/schemas/${name}`);
  if (validate === undefined) throw new Error(`OpenAI's description has no schema ${name}`);
  return validate;
}

/** What the schemas of a path's answers are called: in one piece, and of each event of a stream. */
interface Schemas {
  readonly whole: string;
  readonly event?: string;
  readonly exempt?: (event: unknown) => unknown;
}

/**
 * The description says that both kinds of answers share a schema, whose finish_reason has no null
 * and whose usage is always there; of chunks but the last, OpenAI sends null for both.
 */
function withoutNullsOfChunks(event: unknown): unknown {
  const { usage, choices, ...rest } = event as {
    usage?: unknown;
    choices: readonly { finish_reason?: string | null }[];
  };
  return {
    ...rest,
    ...(usage !== null && usage !== undefined && { usage }),
    choices: choices.map(({ finish_reason: reason, ...choice }) => ({
      ...choice,
      ...(reason === undefined ? {} : { finish_reason: reason ?? 'stop' }),
    })),
  };
}

const SCHEMAS: Readonly<Record<string, Schemas>> = {
  '/v1/completions': {
    whole: 'CreateCompletionResponse',
    event: 'CreateCompletionResponse',
    exempt: withoutNullsOfChunks,
  },
  '/v1/chat/completions': {
    whole: 'CreateChatCompletionResponse',
    event: 'CreateChatCompletionStreamResponse',
  },
  '/v1/responses': { whole: 'Response', event: 'ResponseStreamEvent' },
  '/v1/responses/input_tokens': { whole: 'TokenCountsResource' },
  '/v1/models': { whole: 'ListModelsResponse' },
  '/v1/models/': { whole: 'Model' },
  '/v1/moderations': { whole: 'CreateModerationResponse' },
  '/v1/embeddings': { whole: 'CreateEmbeddingResponse' },
};

export interface Answer {
  /** Of the request, as it was sent. */
  readonly url: string;
  readonly status: number;
  readonly body: string;
}

/** What OpenAI's description does not take about an answer; nothing where it has no such path. */
export function answerProblems({ url, status, body }: Answer): string[] {
  const path = new URL(url, 'http://localhost').pathname;
  const schemas = SCHEMAS[path.startsWith('/v1/models/') ? '/v1/models/' : path];
  if (schemas === undefined || body === '') return [];
  if (!/^(event|data|):/.test(body)) {
    const validate = status === 200 ? schemaOf(schemas.whole) : ERROR;
    return problemsOf(validate, JSON.parse(body));
  }
  const { event: name, exempt = (event: unknown) => event } = schemas;
  if (status !== 200 || name === undefined) return ['a stream of events'];
  return dataOf(body).flatMap((data, index, all) => {
    const isLast = index === all.length - 1;
    if (data === '[DONE]') return isLast ? [] : ['[DONE] before the end'];
    const event = JSON.parse(data) as object;
    if ('error' in event && isLast && name !== 'ResponseStreamEvent') {
      return problemsOf(ERROR, event);
    }
    return problemsOf(schemaOf(name), exempt(event)).map((problem) => `event ${index}${problem}`);
  });
}

/** Of the events of a stream, whole or cut off. */
function dataOf(body: string): string[] {
  return body
    .split('\n\n')
    .slice(0, -1)
    .flatMap((block) => /^data: (.*)$/m.exec(block)?.[1] ?? []);
}

/** Reports what an answer's problems are when it has been sent, or was cut off. */
export function watchAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  report: (answer: Answer, problems: readonly string[]) => void,
): void {
  const parts: Buffer[] = [];
  let isEnding = false;
  const take = (data: unknown): void => {
    if (!isEnding && (typeof data === 'string' || data instanceof Uint8Array)) {
      parts.push(Buffer.from(data as string));
    }
  };
  let isReported = false;
  const done = (): void => {
    if (isReported) return;
    isReported = true;
    const answer = {
      url: request.url ?? '',
      status: response.statusCode,
      body: Buffer.concat(parts).toString(),
    };
    report(answer, answerProblems(answer));
  };
  const write = response.write.bind(response) as (...data: unknown[]) => boolean;
  const end = response.end.bind(response) as (...data: unknown[]) => ServerResponse;
  response.write = (...data: unknown[]): boolean => {
    take(data[0]);
    return write(...data);
  };
  response.end = (...data: unknown[]): ServerResponse => {
    take(data[0]);
    isEnding = true;
    done();
    return end(...data);
  };
  response.once('close', done);
}
