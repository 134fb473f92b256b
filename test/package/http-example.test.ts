/** README's HTTP server, as it stands there: it streams, refuses, and ends what nobody reads. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { EMBEDDED_MODEL } from '../../lib/cli/session';

const root = join(__dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const [, example = ''] = /^```js\n((?:(?!^```).)*createServer.*?)^```$/ms.exec(readme) ?? [];

/** The prompt `endless` is answered without an end. Says what begins, and how it ends. */
const PRELUDE = `
  import { Model as Loaded } from 'tramontane';
  const load = Loaded.load.bind(Loaded);
  Loaded.load = async () => {
    const options = { contextSize: 2 ** 24, maxRunning: 1, maxWaiting: 1 };
    const model = await load(${JSON.stringify(EMBEDDED_MODEL)}, options);
    const generate = model.generate.bind(model);
    model.generate = (prompt, options) => {
      const endless = { ...options, maxTokens: 2 ** 23, ignoreEos: true };
      const generation = generate(prompt, prompt === 'endless' ? endless : options);
      console.log(prompt);
      const timer = setInterval(() => {
        const { state, finishReason } = generation.toJSON();
        if (state === 'running') return;
        clearInterval(timer);
        console.log(finishReason);
      }, 5);
      return generation;
    };
    return model;
  };`;

let server: ChildProcessByStdio<null, Readable, null>;
let lines: AsyncIterator<string>;
let port: number;

beforeAll(async () => {
  const program = example.replace('server.listen(8080)', 'server.listen(0)');
  const script = `${PRELUDE}
    ${program}
    server.on('listening', () => console.log(server.address().port));`;
  server = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  lines = createInterface(server.stdout)[Symbol.asyncIterator]();
  port = Number(await nextLine());
}, 60_000);

afterAll(() => {
  server.kill();
});

async function nextLine(): Promise<string> {
  const { value } = (await lines.next()) as { value: string | undefined };
  return value ?? 'the server has ended';
}

async function ask(prompt: string): Promise<IncomingMessage> {
  const request = get({ port, path: `/?prompt=${encodeURIComponent(prompt)}` });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  return (await response.setEncoding('utf8').toArray()).join('');
}

test('it streams the text', async () => {
  const response = await ask('Once upon a time');
  expect(response).toMatchObject({
    statusCode: 200,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'transfer-encoding': 'chunked' },
  });
  expect(await bodyOf(response)).toMatch(/^,? .{20,}/);
  expect(await nextLine()).toBe('Once upon a time');
  expect(await nextLine()).toMatch(/^(stop|length)$/);
});

test('while it is full, others are told so; a client that disconnects ends its generation', async () => {
  const response = await ask('endless');
  expect(await nextLine()).toBe('endless');
  await once(response, 'data');
  // Without an end too: on a busy machine it may get the turn of one whose reader is late.
  const waiting = get({ port, path: '/?prompt=endless' });
  expect(await nextLine()).toBe('endless');
  const refused = await ask('Once upon a time');
  expect(refused.statusCode).toBe(503);
  expect(await bodyOf(refused)).toContain('maxWaiting');
  waiting.on('error', () => undefined);
  waiting.destroy();
  expect(await nextLine()).toBe('aborted');
  response.destroy();
  expect(await nextLine()).toBe('aborted');
  // There is room again.
  expect((await ask('Once upon a time')).statusCode).toBe(200);
});
