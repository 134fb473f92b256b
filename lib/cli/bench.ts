/** `tramontane bench`: how fast a model runs here, beside what the machine could do. */
import { Command } from 'commander';
import { Model, type GenerationResult } from '../index';
import { listRow, row, show } from './bench-table';
import { LatencyBench, latencyTable, latencyTokens, type LatencyReport } from './latency';
import { LimitsProbe, type Limits } from './machine-limits';
import { addLoadOptions, integer, integers, loadFlags, type LoadFlags } from './options';
import { Progress } from './progress';
import { RandomPrompts } from './random-prompts';
import { EMBEDDED_MODEL, withModel, modelArgument } from './session';
import { figure, median, range, type Figure, type Range } from './statistics';

interface Flags extends LoadFlags {
  readonly prompt: number;
  readonly generate: number;
  readonly depths: readonly number[];
  readonly streams: readonly number[];
  readonly latency?: true;
  readonly long: number;
  readonly repeat: number;
  readonly json?: true;
}

/** A run, beside what the machine could do at that time. */
interface Run extends Limits {
  readonly tokensPerSecond: number;
}

interface Speed {
  readonly tokensPerSecond: number;
  readonly range: Range;
  readonly runs: readonly Run[];
  /** The median of each run's; absent where the int8 peak was not measured. */
  readonly percentOfPeak?: number;
}

interface Report {
  readonly model: string;
  readonly implementation: string;
  readonly threads: number;
  readonly loadMilliseconds: Figure;
  /** By the size of the prompt: --prompt, and --depths. */
  readonly prompts: readonly {
    readonly tokens: number;
    readonly prefill: Speed;
    readonly firstTokenMilliseconds: Figure;
    /**
     * One generation after it. percentOfBandwidth: weights read once a token, of the CPU's plain read
     * of the files; the median of each run's.
     */
    readonly decode: Speed & { readonly percentOfBandwidth?: number };
  }[];
  /** Generations at the same time. timesOne: their step by that of one, t(k)/t(1), in each run. */
  readonly streams: readonly (Speed & { readonly count: number; readonly timesOne: number })[];
  /** The most at the end of a generation, mapped files included. */
  readonly residentBytes: number;
  /** The best windows. */
  readonly limits: Limits;
}

export function benchCommand(): Command {
  const command = new Command('bench')
    .description('Measures loading, speed of prompts and generation, and memory.')
    .addArgument(modelArgument())
    .option('--prompt <n>', 'tokens of the prompt', integer, 512)
    .option('--generate <n>', 'tokens to generate after it', integer, 64)
    .option('--depths <list>', 'prompts of these sizes too: 64,2048', integers, [])
    .option('--streams <list>', 'generations at the same time', integers, [2, 4, 8, 16])
    .option('--latency', 'measure what requests cost one another instead')
    .option('--long <n>', 'with --latency: tokens of the long prompt', integer, 3000)
    .option('--repeat <n>', 'runs; the median and the range are shown', integer, 3)
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
The files are read once before anything is timed. Medians of the runs, and in
brackets the least and the greatest:
  load         until a second copy of the model could take a request
  prefill N    tokens of a prompt of N by the time to process it
  first token  that time
  decode at N  one generation after that prompt
  runs at GB/s each of its runs, at what a plain read of the files gave then
  N streams    generations after one token, together; t(N): what a step of
               theirs takes, t(1): of one, measured next to it
  memory       the most resident after a generation, mapped files included
Shares are of what the machine gave just before and after each run:
  bandwidth    a plain read of the files: weights are read once a token
  int8 peak    a loop that only multiplies and adds
The last line has the best of both.

With --latency, times to the first token of prompts of 16 and 200 tokens, alone
and while a long one is computed (among), and the long one's; the gap between
two tokens of a running generation, the longest beside a prompt, and the
prompt's time alone and beside it; and what a step costs by its rows, which are
a prompt's: steps have 128 at most, so that 512 are four steps.

Examples:
  $ tramontane bench mistral-7b.Q4_K_M.gguf
  $ tramontane bench mistral-7b.Q4_K_M.gguf --latency --repeat 5
  $ tramontane bench mistral-7b.gguf --prompt 2048 --generate 128 --json`,
    )
    .action(bench);
  return addLoadOptions(command);
}

async function bench(path: string | undefined, flags: Flags, command: Command): Promise<void> {
  for (const name of ['prompt', 'depths', 'streams', 'long', 'repeat'] as const) {
    if ([flags[name]].flat().some((value) => value < 1)) {
      command.error(`--${name} must be at least 1`);
    }
  }
  if (flags.repeat > MOST_RUNS) command.error(`--repeat must be at most ${MOST_RUNS}`);
  if (flags.generate < 2) command.error('--generate must be at least 2');
  await withModel(path ?? EMBEDDED_MODEL, flags, async (model, signal) => {
    const progress = new Progress();
    const measure = flags.latency ? latency : speeds;
    try {
      const text = await measure(model, flags, signal, progress, command);
      progress.clear();
      process.stdout.write(text);
    } finally {
      progress.clear();
    }
  });
}

async function latency(
  model: Model,
  flags: Flags,
  signal: AbortSignal,
  progress: Progress,
  command: Command,
): Promise<string> {
  const { contextSize, kvCache } = model.info;
  const needed = latencyTokens(flags);
  if (needed > Math.min(contextSize, kvCache.tokens)) {
    command.error(
      `--latency with these sizes needs a context and a cache of ${needed} tokens: see --long, ` +
        '--prompt, --context-size and --kv-cache-tokens',
    );
  }
  const report = await new LatencyBench(model, flags, signal, progress).run();
  return flags.json ? json(report) : latencyTable(report);
}

async function speeds(
  model: Model,
  flags: Flags,
  signal: AbortSignal,
  progress: Progress,
  command: Command,
): Promise<string> {
  const longest = Math.max(flags.prompt, ...flags.depths);
  const { contextSize, path, requests, threads } = model.info;
  if (longest + flags.generate > contextSize) {
    const sum = `${longest} tokens of prompt and ${flags.generate} generated`;
    command.error(`${sum} are more than the context of ${contextSize}: see --context-size`);
  }
  if (Math.max(0, ...flags.streams) > requests.maxRunning) {
    command.error(`--streams must be at most ${requests.maxRunning}`);
  }
  const probe = await LimitsProbe.open(path, threads.count);
  const report = await new Bench(model, flags, signal, progress, probe).run();
  return flags.json ? json(report) : table(report);
}

function json(report: Report | LatencyReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

const MOST_RUNS = 1000;

/** Steps of streams that are timed, at most: sixteen streams take several times as long as one. */
const STREAM_STEPS = 16;

class Bench {
  private readonly prompts: RandomPrompts;
  private residentBytes = 0;

  constructor(
    private readonly model: Model,
    private readonly flags: Flags,
    private readonly signal: AbortSignal,
    private readonly progress: Progress,
    private readonly probe: LimitsProbe,
  ) {
    this.prompts = new RandomPrompts(model.info.vocabularySize);
  }

  async run(): Promise<Report> {
    const { model, flags, probe } = this;
    await this.generate(this.prompts.next(1), 2); // Touches every weight once.
    const loads = await this.repeat('load', () => this.load());
    const prompts = [];
    for (const tokens of [flags.prompt, ...flags.depths]) prompts.push(await this.prompt(tokens));
    return {
      model: model.info.path,
      implementation: model.info.implementation,
      threads: model.info.threads.count,
      loadMilliseconds: figure(loads),
      prompts,
      streams: await this.streams(),
      residentBytes: this.residentBytes,
      limits: probe.best,
    };
  }

  /** A prompt, and then what follows it: its pages are in the cache. */
  private async prompt(tokens: number): Promise<Report['prompts'][number]> {
    const { generate } = this.flags;
    const runs = await this.repeat(`prefill and decode at ${tokens}`, async () => {
      const prompt = this.prompts.next(tokens);
      const prefill = await this.timed(tokens, async () => {
        return (await this.generate(prompt, 1)).promptMs;
      });
      const decode = await this.timed(generate - 1, async () => {
        return (await this.generate(prompt, generate)).generateMs;
      });
      return { prefill, decode };
    });
    const prefills = runs.map(({ prefill }) => prefill);
    const decodes = runs.map(({ decode }) => decode);
    return {
      tokens,
      prefill: this.speed(prefills),
      firstTokenMilliseconds: figure(
        prefills.map(({ tokensPerSecond }) => (1000 * tokens) / tokensPerSecond),
      ),
      decode: {
        ...this.speed(decodes),
        ...(this.onCpu && { percentOfBandwidth: median(decodes.map(this.percentOfBandwidth)) }),
      },
    };
  }

  /** In each run one generation, and then each number of them. */
  private async streams(): Promise<Report['streams']> {
    const counts = this.flags.streams;
    const rounds = await this.repeat('streams', async () => {
      const round = [];
      for (const count of [1, ...counts]) {
        round.push(await this.timed(count, () => this.stepTime(count)));
      }
      return round;
    });
    return counts.map((count, index) => ({
      count,
      ...this.speed(rounds.map((round) => round[index + 1]!)),
      timesOne: median(
        rounds.map(
          (round) => (count * round[0]!.tokensPerSecond) / round[index + 1]!.tokensPerSecond,
        ),
      ),
    }));
  }

  /** Milliseconds of a step of so many generations, of a token each, that began together. */
  private async stepTime(count: number): Promise<number> {
    const tokens = Math.min(this.flags.generate, 1 + STREAM_STEPS);
    const all = await Promise.all(
      Array.from({ length: count }, () => this.generate(this.prompts.next(1), tokens)),
    );
    return median(all.map(({ generateMs }) => generateMs)) / (tokens - 1);
  }

  /** @param body gives the milliseconds that `tokens` took */
  private async timed(tokens: number, body: () => Promise<number>): Promise<Run> {
    const { result: milliseconds, limits } = await this.probe.around(body);
    return { tokensPerSecond: tokens / (milliseconds / 1000), ...limits };
  }

  private speed(runs: readonly Run[]): Speed {
    const speeds = runs.map(({ tokensPerSecond }) => tokensPerSecond);
    const measured = this.onCpu && runs.every((run) => run.int8OperationsPerSecond > 0);
    return {
      tokensPerSecond: median(speeds),
      range: range(speeds),
      runs,
      ...(measured && { percentOfPeak: median(runs.map(this.percentOfPeak)) }),
    };
  }

  private get onCpu(): boolean {
    return this.model.info.backend.name === 'cpu';
  }

  private readonly percentOfPeak = (run: Run): number =>
    (100 * run.tokensPerSecond * this.probe.cost.promptOperations) / run.int8OperationsPerSecond;

  private readonly percentOfBandwidth = (run: Run): number =>
    (100 * run.tokensPerSecond * this.probe.cost.bytes) / run.readBytesPerSecond;

  private async repeat<T>(phase: string, run: () => Promise<T>): Promise<T[]> {
    const results: T[] = [];
    for (let index = 0; index < this.flags.repeat; ++index) {
      this.progress.update(phase, index / this.flags.repeat);
      results.push(await run());
      this.signal.throwIfAborted();
    }
    return results;
  }

  /** Milliseconds until a second copy of the model could take a request. */
  private async load(): Promise<number> {
    const start = performance.now();
    const other = await Model.load(this.model.info.path, {
      ...loadFlags(this.flags),
      signal: this.signal,
    });
    const milliseconds = performance.now() - start;
    await other.dispose();
    return milliseconds;
  }

  /** Generates exactly `tokens` tokens. */
  private async generate(
    prompt: readonly number[],
    tokens: number,
  ): Promise<GenerationResult['timings']> {
    const generation = this.model.generate(prompt, {
      maxTokens: tokens,
      temperature: 0,
      ignoreEos: true,
      signal: this.signal,
    });
    const { timings } = await generation.result();
    this.signal.throwIfAborted();
    this.residentBytes = Math.max(this.residentBytes, process.memoryUsage.rss());
    return timings;
  }
}

function table(report: Report): string {
  const { loadMilliseconds, prompts, streams, residentBytes, limits } = report;
  const line = (name: string, { tokensPerSecond, range }: Speed, share?: string) =>
    row(name, { value: tokensPerSecond, range }, 'tokens/s', share);
  const share = (percent: number | undefined, of: string) =>
    percent === undefined ? '' : `${show(percent)}% of ${of}`;
  return (
    `${report.model}\n${report.implementation}, ${report.threads} threads\n` +
    row('load', loadMilliseconds, 'ms') +
    prompts
      .map(
        ({ tokens, prefill, firstTokenMilliseconds, decode }) =>
          line(`prefill ${tokens}`, prefill, share(prefill.percentOfPeak, 'the int8 peak')) +
          row('first token', firstTokenMilliseconds, 'ms') +
          line(`decode at ${tokens}`, decode, share(decode.percentOfBandwidth, 'the bandwidth')) +
          (decode.percentOfBandwidth === undefined ? '' : eachRun(decode.runs)),
      )
      .join('') +
    streams
      .map((speed) => {
        const times = `t(${speed.count})/t(1) ${speed.timesOne.toFixed(2)}`;
        return line(`${speed.count} streams`, speed, times);
      })
      .join('') +
    row('memory', figure([residentBytes / 2 ** 20]), 'MiB') +
    `This machine: reads ${show(limits.readBytesPerSecond / 1e9)} GB/s, ` +
    `int8 peak ${show(limits.int8OperationsPerSecond / 1e9)} GOP/s.\n`
  );
}

/** @example   runs at GB/s  5.3 at 29.1, 5.1 at 27.0, 5.4 at 29.3 */
function eachRun(runs: readonly Run[]): string {
  const texts = runs.map(
    (run) => `${show(run.tokensPerSecond)} at ${show(run.readBytesPerSecond / 1e9)}`,
  );
  return listRow('  runs at GB/s', texts);
}
