/** What somebody hostile sends, to a server that listens. */
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Model } from '../../lib';
import type { Server, ServerOptions } from '../../lib/server';
import { Keys } from '../../lib/server/keys';
import { Breeze, createServer } from './checked-server';

const KEY = 'sk-alice-12345';

const breeze = new Breeze();
let model: Model;
beforeAll(() => {
  ({ model } = breeze);
});
const serve = (options: ServerOptions = {}): Server => breeze.serve(options);

async function listen(options: ServerOptions = {}): Promise<{ server: Server; port: number }> {
  const server = serve(options);
  await server.listen({ port: 0, host: '127.0.0.1' });
  return { server, port: (server.server.address() as AddressInfo).port };
}

/** All that comes back for these bytes until the server closes. */
async function raw(port: number, ...parts: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const received: Buffer[] = [];
  socket.on('data', (data: Buffer) => received.push(data));
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  for (const part of parts) socket.write(part, 'latin1');
  await closed;
  return Buffer.concat(received).toString();
}

const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

/** Goes through only where the server takes what stands before it for a whole request. */
const SMUGGLED = 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const POST = 'POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
const BODY = '{"prompt":"a"}';

describe('requests that two readers may read differently', () => {
  test.each([
    [
      'a length and chunks',
      `${POST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      'chunks and a length',
      `${POST}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n`,
    ],
    ['two lengths', `${POST}Content-Length: 14\r\nContent-Length: 0\r\n\r\n${BODY}`],
    ['a length twice', `${POST}Content-Length: 14\r\nContent-Length: 14\r\n\r\n${BODY}`],
    ['lengths in a list', `${POST}Content-Length: 14, 14\r\n\r\n${BODY}`],
    ['a length with a sign', `${POST}Content-Length: +14\r\n\r\n${BODY}`],
    ['a length that is none', `${POST}Content-Length: 0x0e\r\n\r\n${BODY}`],
    ['chunks that are not last', `${POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['chunks by another name', `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['a chunk size that is none', `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n`],
    ['a chunk size with a prefix', `${POST}Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n`],
    ['a negative chunk size', `${POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n`],
    [
      'a chunk size that overflows',
      `${POST}Transfer-Encoding: chunked\r\n\r\n${'f'.repeat(17)}\r\n\r\n`,
    ],
    [
      'a chunk longer than its size',
      `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\n${BODY}\r\n0\r\n\r\n`,
    ],
    ['a space before the colon', `${POST}Content-Length : 14\r\n\r\n${BODY}`],
    ['a line that goes on', `${POST}X-A: b\r\n Content-Length: 14\r\n\r\n${BODY}`],
    ['lines that end with LF', `${POST.replaceAll('\r\n', '\n')}Content-Length: 14\n\n${BODY}`],
    ['lines that end with CR', `${POST}X-A: b\rContent-Length: 14\r\n\r\n${BODY}`],
    ['a zero in a header', `${POST}X-A: b\0c\r\nContent-Length: 14\r\n\r\n${BODY}`],
    ['no host', `POST /tokenize HTTP/1.1\r\nContent-Length: 14\r\n\r\n${BODY}`],
  ])('%s: 400, and nothing behind it is read', async (_, request) => {
    const { port } = await listen();
    const answer = await raw(port, request, SMUGGLED);
    expect(statusesOf(answer)).toEqual([400]);
    expect(answer).not.toContain('"owned_by"');
  });

  test('what is well-formed goes through, one after the other', async () => {
    const { port } = await listen();
    const request = `${POST}Transfer-Encoding: chunked\r\n\r\ne\r\n${BODY}\r\n0\r\n\r\n`;
    const answer = await raw(port, request, SMUGGLED);
    expect(statusesOf(answer)).toEqual([200, 200]);
  });

  test('what is no request is answered in the form of errors', async () => {
    const { port } = await listen();
    const answer = await raw(port, 'nonsense\r\n\r\n');
    const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    expect(JSON.parse(body)).toEqual({
      error: {
        message: expect.any(String),
        type: 'invalid_request_error',
        param: null,
        code: 'invalid_request',
      },
    });
  });
});

test.each([
  ['one', `X-A: ${'a'.repeat(100_000)}\r\n`],
  ['many', 'X-A: aaaaaaaaaaaaaaaa\r\n'.repeat(5000)],
  ['the address', ''],
])('giant headers, %s: 431', async (what, headers) => {
  const { port } = await listen();
  const path = what === 'the address' ? `/${'a'.repeat(100_000)}` : '/v1/models';
  const answer = await raw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
  expect(statusesOf(answer)).toEqual([431]);
  expect(answer).toContain('"code":"headers_too_large"');
});

describe('clients that send slowly', () => {
  /** Sends a byte now and then until the server closes. */
  async function dribble(port: number, first: string): Promise<string> {
    const socket = connect(port, '127.0.0.1');
    const received: Buffer[] = [];
    socket.on('data', (data: Buffer) => received.push(data));
    socket.on('error', () => undefined);
    socket.write(first);
    while (!socket.closed) {
      await sleep(20);
      if (socket.writable) socket.write('a');
    }
    return Buffer.concat(received).toString();
  }
  const QUICK = { headersTimeout: 0.2, receiveTimeout: 0.4 };

  test('their headers: 408, and the connection is closed', async () => {
    const { port } = await listen(QUICK);
    const answer = await dribble(port, 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-A: ');
    expect(statusesOf(answer)).toEqual([408]);
    expect(answer).toContain('"code":"request_timeout"');
  });

  test('their body: 408, and the connection is closed', async () => {
    const { port } = await listen(QUICK);
    const answer = await dribble(port, `${POST}Content-Length: 100000\r\n\r\n`);
    expect(statusesOf(answer)).toEqual([408]);
  });

  test('nothing at all: the connection is closed', async () => {
    const { port } = await listen(QUICK);
    expect(statusesOf(await raw(port))).toEqual([408]);
  });

  test.each([['headersTimeout'], ['receiveTimeout']])('%s must be a time', (name) => {
    expect(() => createServer(model, { [name]: 0 })).toThrow(name);
  });
});

const messages = [{ role: 'user', content: 'Hi' }];
const post = async (server: Server, url: string, payload: string) =>
  server.inject({
    method: 'POST',
    url,
    payload,
    headers: { 'content-type': 'application/json' },
  });

describe('deep JSON', () => {
  const DEPTH = 100_000;
  const ARRAYS = '['.repeat(DEPTH) + ']'.repeat(DEPTH);
  const OBJECTS = '{"not":'.repeat(DEPTH) + '{}' + '}'.repeat(DEPTH);
  const chat = (field: string): string =>
    `{"messages":${JSON.stringify(messages)},"max_tokens":1,${field}}`;
  const tool = (parameters: string): string =>
    chat(`"tools":[{"type":"function","function":{"name":"f","parameters":${parameters}}}]`);
  const format = (schema: string): string =>
    chat(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":${schema}}}`);
  const call = (json: string): string =>
    JSON.stringify({
      messages: [
        ...messages,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a1b2c3d4e', function: { name: 'f', arguments: json } }],
        },
        { role: 'tool', tool_call_id: 'a1b2c3d4e', content: '1' },
      ],
      max_tokens: 1,
    });

  test.each([
    ['/v1/completions', ARRAYS],
    ['/v1/completions', `{"prompt":${ARRAYS}}`],
    ['/v1/completions', `{"prompt":"a","logit_bias":${OBJECTS}}`],
    ['/v1/completions', `{"prompt":"a","guided_json":${OBJECTS}}`],
    ['/v1/completions', `{"prompt":"a","best_of":${ARRAYS}}`],
    [
      '/v1/completions',
      `{"prompt":"a","guided_regex":"${'('.repeat(DEPTH)}a${')'.repeat(DEPTH)}"}`,
    ],
    [
      '/v1/completions',
      `{"prompt":"a","guided_grammar":"root ::= ${'('.repeat(DEPTH)} [a] ${')'.repeat(DEPTH)}"}`,
    ],
    ['/v1/chat/completions', `{"messages":${ARRAYS}}`],
    ['/v1/chat/completions', `{"messages":[{"role":"user","content":${ARRAYS}}]}`],
    ['/v1/chat/completions', chat(`"tools":${ARRAYS}`)],
    ['/v1/chat/completions', tool(OBJECTS)],
    ['/v1/chat/completions', format(OBJECTS)],
    ['/v1/chat/completions', format(ARRAYS)],
    ['/v1/chat/completions', chat(`"metadata":${OBJECTS}`)],
    ['/v1/chat/completions', call(ARRAYS)],
    ['/v1/chat/completions', call(OBJECTS)],
    ['/v1/responses', `{"input":${ARRAYS}}`],
    ['/v1/responses', `{"input":"a","text":{"format":${OBJECTS}}}`],
    ['/v1/messages', `{"max_tokens":1,"messages":${ARRAYS}}`],
    ['/v1/messages', `{"max_tokens":1,"messages":[],"system":${ARRAYS}}`],
    ['/v1/moderations', `{"input":${ARRAYS}}`],
    ['/v1/chat/moderations', `{"input":${ARRAYS}}`],
    ['/tokenize', `{"messages":${ARRAYS}}`],
    ['/detokenize', `{"tokens":${ARRAYS}}`],
  ])('%s %.60s: 400', async (url, body) => {
    for (const server of [serve(), serve({ lenient: true })]) {
      const { statusCode, body: text } = await post(server, url, body);
      expect([statusCode, text.slice(0, 200)]).toEqual([400, expect.any(String)]);
    }
  });

  test('what is as deep as schemas are goes through', async () => {
    const schema = '{"not":'.repeat(40) + '{}' + '}'.repeat(40);
    const { statusCode } = await post(
      serve(),
      '/v1/chat/completions',
      chat(`"metadata":${schema}`),
    );
    expect(statusCode).toBe(200);
  });
});

describe('names of prototypes', () => {
  const POISON = ['{"__proto__":{"x":1}}', '{"constructor":{"prototype":{"x":1}}}'];
  const ESCAPED = '{"\\u005f_proto__":{"x":1}}';
  const completion =
    (field: string) =>
    (poison: string): string =>
      `{"prompt":"a","max_tokens":1,"${field}":${poison}}`;
  const chat = (fields: string): string => `{"max_tokens":1,${fields}}`;

  test.each<[string, string, (poison: string) => string]>([
    ['/v1/completions', 'the body', (poison) => poison.replace('{', '{"prompt":"a",')],
    ['/v1/completions', 'logit_bias', completion('logit_bias')],
    ['/v1/completions', 'stream_options', completion('stream_options')],
    ['/v1/completions', 'guided_json', completion('guided_json')],
    ['/v1/completions', 'response_format', completion('response_format')],
    ['/v1/chat/completions', 'metadata', (poison) => chat(`"messages":[],"metadata":${poison}`)],
    ['/v1/chat/completions', 'a message', (poison) => chat(`"messages":[${poison}]`)],
    ['/v1/chat/completions', 'tools', (poison) => chat(`"messages":[],"tools":[${poison}]`)],
    ['/v1/responses', 'metadata', (poison) => `{"input":"a","metadata":${poison}}`],
    ['/v1/responses', 'text', (poison) => `{"input":"a","text":{"format":${poison}}}`],
    [
      '/v1/messages',
      'a block',
      (poison) => chat(`"messages":[{"role":"user","content":[${poison}]}]`),
    ],
    ['/v1/moderations', 'input', (poison) => `{"input":[${poison}]}`],
  ])('%s: in %s they are refused, and change nothing', async (url, _, body) => {
    for (const server of [serve(), serve({ lenient: true })]) {
      for (const poison of [...POISON, ESCAPED]) {
        const { statusCode } = await post(server, url, body(poison));
        expect([poison, statusCode]).toEqual([poison, 400]);
        expect(({} as { x?: unknown }).x).toBeUndefined();
      }
    }
  });

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'no model, role or route is called %s',
    async (name) => {
      const server = serve();
      const { statusCode } = await server.inject({ url: `/v1/models/${name}` });
      expect(statusCode).toBe(404);
      const asked = JSON.stringify({ model: name, prompt: 'a' });
      expect((await post(server, '/v1/completions', asked)).statusCode).toBe(404);
      const spoken = JSON.stringify({ messages: [{ role: name, content: 'a' }] });
      expect((await post(server, '/v1/chat/completions', spoken)).statusCode).toBe(400);
    },
  );
});

test.each([
  '/v1/models/../../../../etc/passwd',
  '/v1/models/..%2f..%2f..%2f..%2fetc%2fpasswd',
  '/v1/models/%2e%2e/%2e%2e/etc/passwd',
  '/v1/models/..%5c..%5cetc%5cpasswd',
  '/v1/models/%00',
  '/v1/models/breeze%00.gguf',
  '/v1/models//etc/passwd',
  '/v1/models/%2fetc%2fpasswd',
  '/v1/models/%',
  '/v1/models/%c0%ae%c0%ae%2fetc%2fpasswd',
  '/../etc/passwd',
  '//etc/passwd',
  '/%2e%2e/package.json',
  '/index.html',
])('no file is to be had: %s', async (path) => {
  const { port } = await listen();
  const answer = await raw(
    port,
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  );
  expect([400, 404]).toContain(statusesOf(answer)[0]);
  expect(answer).toContain('{"error":{"message":');
  expect(answer).not.toContain('root:');
});

describe('keys', () => {
  test('are compared by their digests, all of them, in constant time', () => {
    const keys = new Keys([`alice:${KEY}`, 'bob:sk-bob-1234567']);
    const compare = jest.spyOn(crypto, 'timingSafeEqual');
    try {
      for (const [key, name] of [
        [KEY, 'alice'],
        ['sk-bob-1234567', 'bob'],
        ['x', undefined],
        [`${KEY}${'x'.repeat(10_000)}`, undefined],
      ] as const) {
        compare.mockClear();
        expect(keys.nameOf(key)).toBe(name);
        expect(compare).toHaveBeenCalledTimes(2);
        const digest = crypto.createHash('sha256').update(key).digest();
        for (const [kept, sent] of compare.mock.calls as [Buffer, Buffer][]) {
          expect(kept).toHaveLength(32);
          expect(sent).toEqual(digest);
        }
      }
    } finally {
      compare.mockRestore();
    }
  });

  test.each(['trace', 'debug', 'info', 'warn', 'error'])('are in no log: %s', async (level) => {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const { port } = await listen({ apiKeys: [KEY], logger: { level, stream }, logPrompts: true });
    const texts: string[] = [];
    for (const [path, key] of [
      ['/v1/models', KEY],
      ['/v1/models', 'sk-another-1234'],
      ['/metrics', KEY],
      ['/openapi.json', KEY],
      ['/nothing', KEY],
      ['/', KEY],
    ] as const) {
      const headers = `Host: localhost\r\nAuthorization: Bearer ${key}\r\nConnection: close\r\n`;
      texts.push(await raw(port, `GET ${path} HTTP/1.1\r\n${headers}\r\n`));
    }
    const broken = `POST /v1/completions HTTP/1.1\r\nAuthorization: Bearer ${KEY}\r\nHost: localhost\r\n`;
    texts.push(await raw(port, `${broken}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{`));
    texts.push(
      await raw(
        port,
        `${broken}Connection: close\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{`,
      ),
    );
    for (const text of texts) expect(text).toMatch(/^HTTP\/1\.1 \d{3} /);
    const seen = [...texts, ...lines].join('\n');
    expect(seen).not.toMatch(/sk-(alice|another)/);
  });

  test.each(['a file', 'the environment'])('from %s are not among the arguments', async (from) => {
    const command = join(__dirname, '../../dist/cli/main.js');
    if (!existsSync(command) || process.platform !== 'linux') {
      process.stderr.write(
        'skipped: arguments of a process: npm run compile, and Linux with /proc\n',
      );
      return;
    }
    const folder = mkdtempSync(join(tmpdir(), 'tramontane-'));
    const file = join(folder, 'keys.txt');
    writeFileSync(file, `${KEY}\n`);
    const given = from === 'a file' ? ['--api-key-file', file] : [];
    const child = spawn(process.execPath, [command, 'serve', '--port', '0', ...given], {
      env: { ...process.env, ...(from !== 'a file' && { TRAMONTANE_API_KEYS: KEY }) },
    });
    const ended = once(child, 'close');
    try {
      const [line] = (await Promise.race([
        once(createInterface(child.stdout), 'line'),
        ended.then(() => ['it ended']),
      ])) as [string];
      expect(line).toMatch(/^listening on /);
      const url = line.replace('listening on ', '');
      expect((await fetch(`${url}/v1/models`)).status).toBe(401);
      const shown = readFileSync(`/proc/${child.pid!}/cmdline`, 'utf8');
      expect(shown).toContain('serve');
      expect(shown).not.toContain(KEY);
    } finally {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true });
    }
  });
});

describe('pages of other origins', () => {
  const preflight = (server: Server, origin: string) =>
    server.inject({
      method: 'OPTIONS',
      url: '/v1/chat/completions',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });

  test('ask without a key, and learn whether they may', async () => {
    const server = serve({ apiKeys: [KEY], allowedOrigins: ['https://app.example'] });
    const { statusCode, headers, body } = await preflight(server, 'https://app.example');
    expect([statusCode, body]).toEqual([204, '']);
    expect(headers['access-control-allow-origin']).toBe('https://app.example');
    expect(headers['access-control-allow-headers']).toContain('authorization');
    expect(headers['access-control-allow-credentials']).toBeUndefined();
    const other = await preflight(server, 'https://other.example');
    expect(other.headers['access-control-allow-origin']).not.toBe('https://other.example');
    // The request itself needs the key.
    const { statusCode: status } = await server.inject({
      url: '/v1/models',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    });
    expect(status).toBe(401);
  });

  test('are told nothing where there are none', async () => {
    const { statusCode, headers } = await preflight(
      serve({ apiKeys: [KEY] }),
      'https://app.example',
    );
    expect(statusCode).toBe(401);
    expect(headers['access-control-allow-origin']).toBeUndefined();
  });
});
