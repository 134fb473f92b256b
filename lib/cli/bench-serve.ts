/** `tramontane bench-serve`: what an OpenAI-compatible server gives its clients under load. */
import { accessSync, constants, writeFileSync } from 'node:fs';
import { setMaxListeners } from 'node:events';
import { dirname } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { arrivals } from '../bench-serve/arrivals';
import { Client, type Endpoint, type Prompt } from '../bench-serve/client';
import { Load } from '../bench-serve/load';
import { plot } from '../bench-serve/plot';
import { Random } from '../bench-serve/random';
import { resultOf, type Limits, type Result } from '../bench-serve/result';
import { runsTable, runTable, show } from '../bench-serve/table';
import { RandomWorkload, readPrompts } from '../bench-serve/workload';
import { TramontaneError } from '../index';
import { integer, number } from './options';
import { Progress } from './progress';
import { Interrupted } from './session';

interface Flags {
  readonly model?: string;
  readonly endpoint: Endpoint;
  readonly numPrompts?: number;
  readonly prompts?: string;
  readonly randomInputLen: number;
  readonly randomOutputLen: number;
  readonly randomPrefixLen: number;
  readonly randomPrefixes: number;
  readonly seed: number;
  readonly ignoreEos?: true;
  readonly requestRate: number;
  readonly burstiness: number;
  readonly maxConcurrency?: number;
  readonly concurrencies?: readonly number[];
  readonly warmup: number;
  readonly goodput?: Limits;
  readonly json?: true;
  readonly plot?: string;
}

/** Prompts of a run that has no file and no --num-prompts. */
const PROMPTS = 100;

export function benchServeCommand(): Command {
  return new Command('bench-serve')
    .description('Measures an OpenAI-compatible server under load.')
    .argument('<url>', 'where the server is, such as http://127.0.0.1:8000', serverUrl)
    .option('--model <name>', "the model's name there (default: the first it lists)")
    .addOption(
      new Option('--endpoint <name>', 'what is asked')
        .choices(['completions', 'chat'])
        .default('completions'),
    )
    .optionsGroup('Prompts:')
    .option('--num-prompts <n>', `requests (default: ${PROMPTS}, or those of the file)`, positive)
    .option('--random-input-len <n>', 'tokens of a random prompt', positive, 1024)
    .option('--random-output-len <n>', 'tokens to ask for', positive, 128)
    .option('--random-prefix-len <n>', 'tokens before them that prompts share', count, 0)
    .option('--random-prefixes <n>', 'different ones of these, in turn', positive, 1)
    .option('--prompts <file>', 'take these instead: one a line, or a JSON object a line')
    .option('--seed <n>', 'of prompts and arrivals', integer, 0)
    .option('--ignore-eos', 'ask for the whole length, of servers that have ignore_eos')
    .optionsGroup('Load:')
    .addOption(
      new Option('--request-rate <x>', 'requests a second; inf: all at once')
        .argParser(rate)
        .default(Infinity, 'inf'),
    )
    .option('--burstiness <x>', 'of their gaps: 1 is a Poisson process', rate, 1)
    .option('--max-concurrency <n>', 'requests at the same time, at most', positive)
    .option('--concurrencies <list>', 'a run with each of these: 1,4,16', positives)
    .option('--warmup <n>', 'requests before anything is measured', count, 1)
    .optionsGroup('Output:')
    .option(
      '--goodput <limits...>',
      'count requests within these: ttft:500 tpot:50 e2el:9000',
      limit,
    )
    .option('--json', 'write JSON with the names of vllm bench serve')
    .option('--plot <file>', 'with --concurrencies: throughput against latency, an SVG')
    .addHelpText(
      'after',
      `
An API key is taken from TRAMONTANE_API_KEY, or else from OPENAI_API_KEY. Ctrl-C
ends with what was measured so far. The exit code is 1 when all requests failed.

TTFT: from the request to the first chunk. TPOT: the rest of the time by the
tokens after the first. ITL: from one chunk to the next. E2EL: from the request
to the last chunk. Milliseconds all. docs/bench-serve.md has every figure's
formula.

Examples:
  $ tramontane bench-serve http://127.0.0.1:8000 --max-concurrency 4
  $ tramontane bench-serve URL --request-rate 2 --goodput ttft:500 tpot:50
  $ tramontane bench-serve URL --ignore-eos --concurrencies 1,4 --plot load.svg`,
    )
    .action(benchServe);
}

async function benchServe(url: URL, flags: Flags, command: Command): Promise<void> {
  const { maxConcurrency, concurrencies, plot: plotFile } = flags;
  if (concurrencies && maxConcurrency !== undefined) {
    command.error('--concurrencies and --max-concurrency exclude each other');
  }
  if (plotFile !== undefined) {
    if (!concurrencies) command.error('--plot needs --concurrencies, such as 1,4,16');
    checkWritable(plotFile);
  }
  const controller = new AbortController();
  // Every request in flight listens to it.
  setMaxListeners(0, controller.signal);
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', interrupt);
  const bench = new Bench(url, flags, controller.signal);
  try {
    await bench.run();
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', interrupt);
    bench.close();
  }
  const { results } = bench;
  if (results.length > 0) {
    process.stdout.write(flags.json ? json(results, flags) : table(results, flags));
    if (plotFile !== undefined) write(plotFile, plot(results));
  }
  controller.signal.throwIfAborted();
  if (results.every(({ completed }) => completed === 0)) process.exitCode = 1;
}

class Bench {
  /** Of the runs so far, also one that was interrupted. */
  readonly results: Result[] = [];
  private readonly client: Client;
  private readonly random: Random;
  private readonly progress = new Progress();

  constructor(
    url: URL,
    private readonly flags: Flags,
    private readonly signal: AbortSignal,
  ) {
    const { endpoint, ignoreEos = false } = flags;
    const runs = this.concurrencies.map((one) => one ?? Infinity);
    const connections = Math.max(...runs);
    this.client = new Client({ url, endpoint, ignoreEos, apiKey: apiKey(), connections });
    this.random = new Random(flags.seed);
  }

  close(): void {
    this.progress.clear();
    this.client.close();
  }

  private get concurrencies(): readonly (number | undefined)[] {
    return this.flags.concurrencies ?? [this.flags.maxConcurrency];
  }

  async run(): Promise<void> {
    const { client, flags, signal } = this;
    const take = flags.prompts === undefined ? undefined : fromFile(flags);
    await client.findModel(flags.model, signal);
    await this.measureAll(take ?? (await this.randomPrompts()));
  }

  private async measureAll(take: Take): Promise<void> {
    const { flags, signal } = this;
    await this.warmUp(take);
    for (const concurrency of this.concurrencies) {
      const prompts = await take(flags.numPrompts);
      const times = arrivals(
        prompts.length,
        { rate: flags.requestRate, burstiness: flags.burstiness },
        this.random,
      );
      const load = new Load(this.client, concurrency ?? Infinity, signal);
      const label = flags.concurrencies ? `${concurrency!} at once: ` : '';
      const stop = this.follow(load, label, prompts.length);
      const samples = await load.run(prompts, times).finally(stop);
      this.results.push(
        resultOf(samples, {
          endpoint: flags.endpoint,
          model: this.client.model,
          numPrompts: prompts.length,
          requestRate: flags.requestRate,
          burstiness: flags.burstiness,
          maxConcurrency: concurrency,
          goodput: flags.goodput,
        }),
      );
      signal.throwIfAborted();
    }
  }

  /** Requests that are not measured; they show too whether the server takes them at all. */
  private async warmUp(take: Take): Promise<void> {
    const { flags, client, signal } = this;
    if (flags.warmup === 0) return;
    const prompts = await take(flags.warmup);
    const most = Math.max(...this.concurrencies.map((one) => one ?? Infinity));
    const load = new Load(client, most, signal);
    const stop = this.follow(load, 'warm-up: ', prompts.length);
    const { completed, failures } = await load
      .run(
        prompts,
        prompts.map(() => 0),
      )
      .finally(stop);
    signal.throwIfAborted();
    if (completed.length > 0) return;
    const { kind, message } = failures[0]!;
    throw new Error(`${client.route} fails: ${kind}: ${message}`);
  }

  private async randomPrompts(): Promise<Take> {
    const { client, flags, signal, random, progress } = this;
    const counts = await client.findTokenizer(signal);
    if (!counts) {
      process.stderr.write(
        'tramontane: the server has no /tokenize that counts: a word is taken for a token\n',
      );
    }
    const sizes = {
      inputTokens: flags.randomInputLen,
      outputTokens: flags.randomOutputLen,
      prefixTokens: flags.randomPrefixLen,
      prefixes: flags.randomPrefixes,
    };
    const workload = new RandomWorkload(client, sizes, random, counts, signal);
    return (count = PROMPTS) =>
      workload
        .prompts(count, (fraction) => {
          progress.update('prompts', fraction);
        })
        .finally(() => {
          progress.clear();
        });
  }

  /** Shows how a load gets on, until the function it returns is called. */
  private follow(load: Load, label: string, count: number): () => void {
    const { progress } = this;
    const timer = setInterval(() => {
      progress.show((label + statusOf(load, count)).slice(0, (process.stderr.columns || 80) - 1));
    }, 200);
    return () => {
      clearInterval(timer);
      progress.clear();
    };
  }
}

/** The next prompts: so many, or all where there is no number. */
type Take = (count?: number) => Promise<Prompt[]>;

/** From the beginning each time, and again from there when the file has no more. */
function fromFile({ prompts: file, randomOutputLen, endpoint }: Flags): Take {
  const prompts = readPrompts(file!, randomOutputLen);
  if (endpoint !== 'chat' && prompts.some(({ input }) => typeof input !== 'string')) {
    throw new TramontaneError('INVALID_OPTION', `${file!} has messages: they need --endpoint chat`);
  }
  return (count = prompts.length) =>
    Promise.resolve(Array.from({ length: count }, (_, index) => prompts[index % prompts.length]!));
}

/** @example 37 of 100, 4 running, 1 failed; 2.10 requests/s, 268 tokens/s, TTFT 210 ms */
function statusOf(load: Load, count: number): string {
  const { completed, failures, running, chunks, startedAt } = load;
  const seconds = (performance.now() - startedAt) / 1000;
  const last = completed.at(-1);
  return (
    `${completed.length} of ${count}, ${running} running` +
    `${failures.length > 0 ? `, ${failures.length} failed` : ''}; ` +
    `${show(completed.length / seconds)} requests/s, ${show(chunks / seconds)} tokens/s` +
    (last === undefined ? '' : `, TTFT ${show(last.ttft)} ms`)
  );
}

function table(results: readonly Result[], { concurrencies }: Flags): string {
  return concurrencies ? runsTable(results) : runTable(results[0]!);
}

/** An object, or a list of them with --concurrencies. */
function json(results: readonly Result[], { concurrencies }: Flags): string {
  return `${JSON.stringify(concurrencies ? results : results[0], null, 2)}\n`;
}

/** From the environment only: arguments of a process are for all to see. */
function apiKey(): string | undefined {
  const { TRAMONTANE_API_KEY: ours, OPENAI_API_KEY: theirs } = process.env;
  return [ours, theirs].map((key) => key?.trim()).find((key) => key);
}

function checkWritable(file: string): void {
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch (error) {
    throw notWritable(file, error);
  }
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw notWritable(file, error);
  }
}

function notWritable(file: string, error: unknown): TramontaneError {
  const { message } = error as Error;
  return new TramontaneError('FILE_NOT_WRITABLE', `--plot ${file}: ${message}`, { cause: error });
}

function serverUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('It must be a URL, such as http://127.0.0.1:8000.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('It must have no user: set TRAMONTANE_API_KEY to a key.');
  }
  return url;
}

function count(text: string): number {
  const value = integer(text);
  if (value < 0) throw new InvalidArgumentError('It must be at least 0.');
  return value;
}

function positive(text: string): number {
  const value = integer(text);
  if (value < 1) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}

function positives(text: string): number[] {
  return text.split(',').map(positive);
}

/** More than 0, or `inf`. */
function rate(text: string): number {
  const value = text === 'inf' ? Infinity : number(text);
  if (value <= 0) throw new InvalidArgumentError('It must be more than 0, or inf.');
  return value;
}

function limit(text: string, previous: Limits = {}): Limits {
  const [, name, value] = /^(ttft|tpot|e2el):([\d.]+)$/.exec(text) ?? [];
  if (name === undefined) {
    throw new InvalidArgumentError(
      'It must be ttft:MS, tpot:MS or e2el:MS; the URL comes before this option.',
    );
  }
  return { ...previous, [name]: number(value!) };
}
