/**
 * Our server beside node-llama-cpp behind the least server of node:http: the same file, the same
 * threads, the same client (`tramontane bench-serve`), in turns, each server in a process of its own.
 * Prints a table in Markdown: medians over the turns, with ranges.
 *   npm run script scripts/bench-serve-peers.ts -- MODEL.gguf [--concurrencies 1,4,16]
 *     [--prompts 16] [--input 128] [--output 32] [--repeat 3]
 * Needs `npm run compile`; node-llama-cpp is installed from the npm registry into a temporary directory,
 * once.
 */
import './help';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs, promisify } from 'node:util';
import { cpuName, spread } from './machine';
import { installPeer, PEER } from './peer';

const COMMAND = join(__dirname, '../dist/cli/main.js');

/** As little as bench-serve needs. Sequences of one context share its batches. */
const THEIRS = `
  import { createServer } from 'node:http';
  import { getLlama } from 'node-llama-cpp';
  const [path, ...numbers] = process.argv.slice(2);
  const [threads, contextSize, sequences] = numbers.map(Number);
  const llama = await getLlama({ gpu: false, maxThreads: threads, build: 'never', logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({ contextSize, batchSize: 512, threads, sequences });
  const free = Array.from({ length: sequences }, () => context.getSequence());
  const waiting = [];
  const take = () => free.pop() ?? new Promise((resolve) => waiting.push(resolve));
  const give = (sequence) => (waiting.length > 0 ? waiting.shift()(sequence) : free.push(sequence));
  async function complete({ prompt, max_tokens: most }, response) {
    const sequence = await take();
    await sequence.clearHistory();
    const ids = [model.tokens.bos ?? 1, ...model.tokenize(prompt)];
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (data) => response.write('data: ' + JSON.stringify(data) + '\\n\\n');
    let count = 0;
    for await (const token of sequence.evaluate(ids, { temperature: 1, yieldEogToken: true })) {
      count += 1;
      const finish_reason = count === most ? 'length' : null;
      send({ choices: [{ index: 0, text: model.detokenize([token]), finish_reason }] });
      if (count === most) break;
    }
    send({ choices: [], usage: { prompt_tokens: ids.length, completion_tokens: count } });
    response.end('data: [DONE]\\n\\n');
    give(sequence);
  }
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    const json = (value) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (request.url === '/v1/models') return json({ data: [{ id: 'model' }] });
    const body = JSON.parse(text);
    if (request.url === '/tokenize') {
      const tokens = [model.tokens.bos ?? 1, ...model.tokenize(body.prompt)];
      return json({ tokens, count: tokens.length, max_model_len: contextSize });
    }
    await complete(body, response);
  });
  server.listen(0, '127.0.0.1', () => {
    console.log('listening on http://127.0.0.1:' + server.address().port);
  });`;

/** What bench-serve --json has of a run. */
interface Figures {
  readonly max_concurrency: number;
  readonly failed: number;
  readonly request_throughput: number;
  readonly median_ttft_ms: number;
  readonly median_tpot_ms: number;
}

async function measured(
  command: readonly string[],
  cwd: string,
  options: readonly string[],
): Promise<Figures[]> {
  const server = spawn(process.execPath, command, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
    const url = line.replace('listening on ', '');
    const bench = [COMMAND, 'bench-serve', url, '--json', '--ignore-eos', ...options];
    const { stdout } = await promisify(execFile)(process.execPath, bench);
    return JSON.parse(stdout) as Figures[];
  } finally {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      concurrencies: { type: 'string', default: '1,4,16' },
      prompts: { type: 'string', default: '16' },
      input: { type: 'string', default: '128' },
      output: { type: 'string', default: '32' },
      repeat: { type: 'string', default: '3' },
    },
  });
  if (positionals[0] === undefined) throw new Error('give a .gguf file');
  const path = resolve(positionals[0]);
  const threads = String(availableParallelism());
  const directory = installPeer();
  writeFileSync(join(directory, 'server.mjs'), THEIRS);
  const contextSize = String(Number(values.input) + Number(values.output) + 64);
  const sequences = String(Math.max(...values.concurrencies.split(',').map(Number)));
  const ours = [COMMAND, 'serve', path, '--port', '0', '--log-level', 'silent'];
  const theirs = [join(directory, 'server.mjs'), path, threads, contextSize, sequences];
  const runs = { tramontane: [] as Figures[], peer: [] as Figures[] };
  for (let turn = 0; turn < Number(values.repeat); ++turn) {
    // Other prompts each turn, the same of both.
    const options = [
      ...['--concurrencies', values.concurrencies, '--num-prompts', values.prompts],
      ...['--random-input-len', values.input, '--random-output-len', values.output],
      ...['--seed', String(turn)],
    ];
    runs.peer.push(...(await measured(theirs, directory, options)));
    runs.tramontane.push(...(await measured(ours, directory, options)));
    console.error(`turn ${turn + 1} of ${values.repeat}`);
  }
  console.log(
    `${cpuName()}, ${threads} threads; ${values.prompts} requests of ` +
      `${values.input} tokens in, ${values.output} out, ${values.repeat} turns\n`,
  );
  console.log(
    '| concurrent | server | requests/s | TTFT, ms | TPOT, ms | failed |\n| --- | --- | --- | --- | --- | --- |',
  );
  for (const concurrency of values.concurrencies.split(',').map(Number)) {
    for (const [name, list] of [
      ['tramontane', runs.tramontane],
      [PEER.replace('@', ' '), runs.peer],
    ] as const) {
      const own = list.filter(({ max_concurrency: most }) => most === concurrency);
      const show = (figure: (run: Figures) => number, digits: number): string =>
        spread(own.map(figure), digits);
      const failed = own.reduce((sum, run) => sum + run.failed, 0);
      console.log(
        `| ${concurrency} | ${name} | ${show((run) => run.request_throughput, 3)} | ` +
          `${show((run) => run.median_ttft_ms, 0)} | ${show((run) => run.median_tpot_ms, 0)} | ${failed} |`,
      );
    }
  }
}

void main();
