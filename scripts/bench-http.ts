/**
 * What HTTP costs: the same generations by model.generate() and by streams of the server, in turns, of
 * one loaded model; the clients are in a process of their own, on the same machine. Prints tokens a
 * second of all streams together, the processor's time for a token in the server's process, and the
 * medians of the pairs' ratios.
 *   npm run script scripts/bench-http.ts -- MODEL.gguf [--streams 16] [--prompt 16]
 *     [--generate 64] [--repeat 5]
 */
import './help';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from '../lib/cli/statistics';
import { Model } from '../lib';
import { createServer } from '../lib/server';
import { cpuName, spread } from './machine';

interface Order {
  readonly port: number;
  readonly prompts: readonly (readonly number[])[];
  readonly generate: number;
}

interface Run {
  /** Of all streams together. */
  readonly tokensPerSecond: number;
  readonly cpuMsPerToken: number;
}

/** Prompts that share no beginning. */
function promptsOf(streams: number, length: number, turn: number): number[][] {
  return Array.from({ length: streams }, (_, stream) =>
    Array.from({ length }, (_, at) => 10 + ((turn * 7919 + stream * 131 + at * 17) % 240)),
  );
}

async function measured(tokens: number, body: () => Promise<unknown>): Promise<Run> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await body();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { tokensPerSecond: tokens / seconds, cpuMsPerToken: (user + system) / 1000 / tokens };
}

async function stream(agent: Agent, port: number, prompt: readonly number[], generate: number) {
  const body = { prompt, max_tokens: generate, temperature: 0, ignore_eos: true, stream: true };
  const sent = request({
    agent,
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/v1/completions',
    headers: { 'content-type': 'application/json' },
  });
  sent.end(JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  let text = '';
  for await (const piece of response) text += piece as string;
  if (!text.endsWith('data: [DONE]\n\n')) throw new Error(`no end: ${text.slice(-200)}`);
}

/** In the process of the clients. */
function clients(): void {
  const agent = new Agent({ keepAlive: true });
  process.on('message', ({ port, prompts, generate }: Order) => {
    void Promise.all(prompts.map((prompt) => stream(agent, port, prompt, generate))).then(() =>
      process.send!('done'),
    );
  });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      streams: { type: 'string', default: '16' },
      prompt: { type: 'string', default: '16' },
      generate: { type: 'string', default: '64' },
      repeat: { type: 'string', default: '5' },
    },
  });
  const [path] = positionals;
  if (path === undefined) throw new Error('give a .gguf file');
  const [streams, length, generate, repeat] = [
    values.streams,
    values.prompt,
    values.generate,
    values.repeat,
  ].map(Number) as [number, number, number, number];
  await using model = await Model.load(path, { backend: 'cpu' });
  const server = createServer(model);
  await server.listen({ port: 0 });
  const { port } = server.server.address() as AddressInfo;
  const child: ChildProcess = fork(__filename, ['clients'], {
    execArgv: ['-r', join(__dirname, 'typescript.js')],
  });
  const direct = (prompts: readonly (readonly number[])[], count: number): Promise<unknown> =>
    Promise.all(
      prompts.map(async (prompt) => {
        const options = { maxTokens: count, temperature: 0, ignoreEos: true };
        const generation = model.generate(prompt, options)[Symbol.asyncIterator]();
        while ((await generation.next()).done !== true);
      }),
    );
  const overHttp = async (prompts: Order['prompts'], count: number): Promise<void> => {
    child.send({ port, prompts, generate: count } satisfies Order);
    await once(child, 'message');
  };
  await direct(promptsOf(2, length, 1000), 4);
  await overHttp(promptsOf(2, length, 1001), 4);
  const runs: Record<'direct' | 'http', Run[]> = { direct: [], http: [] };
  const tokens = streams * generate;
  for (let turn = 0; turn < repeat; ++turn) {
    // Each goes first as often as the other.
    const order = turn % 2 === 0 ? (['direct', 'http'] as const) : (['http', 'direct'] as const);
    for (const kind of order) {
      const prompts = promptsOf(streams, length, 2 * turn + (kind === 'http' ? 1 : 0));
      const run = kind === 'http' ? overHttp : direct;
      runs[kind].push(await measured(tokens, () => run(prompts, generate)));
    }
    console.error(`turn ${turn + 1} of ${repeat}`);
  }
  child.disconnect();
  await server.close();
  console.log(
    `${cpuName()}, ${availableParallelism()} CPUs; ${streams} streams, ` +
      `prompts of ${length}, ${generate} tokens each, ${repeat} turns\n`,
  );
  console.log('| | generate() | HTTP | HTTP beside it |\n| --- | --- | --- | --- |');
  for (const [name, key] of [
    ['tokens/s', 'tokensPerSecond'],
    ['CPU ms a token', 'cpuMsPerToken'],
  ] as const) {
    const [plain, served] = [runs.direct, runs.http].map((list) => list.map((run) => run[key]));
    const ratios = served!.map((value, i) => value / plain![i]!);
    const ratio = `${(100 * (median(ratios) - 1)).toFixed(1)}%`;
    console.log(`| ${name} | ${spread(plain!, 2)} | ${spread(served!, 2)} | ${ratio} |`);
  }
}

if (process.argv[2] === 'clients') clients();
else void main();
