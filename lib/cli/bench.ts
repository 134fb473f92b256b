/** `tramontane bench`: how fast a model runs here, beside what the machine could do. */
import { Command } from 'commander';
import { Model, type GenerationResult } from '../index';
import { row, show } from './bench-table';
import { LatencyBench, latencyTable, latencyTokens, type LatencyReport } from './latency';
import { LimitsProbe, type Limits } from './machine-limits';
import { addLoadOptions, integer, integers, loadFlags, type LoadFlags } from './options';
import { Progress } from './progress';
import { RandomPrompts } from './random-prompts';
import { EMBEDDED_MODEL, withModel, modelArgument } from './session';
import { median, range, type Range } from './statistics';

interface Flags extends LoadFlags {
  readonly prompt: number;
  readonly generate: number;
  readonly depths?: readonly number[];
  readonly streams: number;
  readonly latency?: true;
  readonly long: number;
  readonly repeat: number;
  readonly json?: true;
}

interface Speed {
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly range: Range;
}

/** Each figure is the median of the runs, with the least and the greatest beside it. */
interface Report {
  readonly model: string;
  readonly implementation: string;
  readonly threads: number;
  readonly load: { readonly milliseconds: number; readonly range: Range };
  /** percentOfPeak: of the int8 operations the CPU can do; absent where they were not measured. */
  readonly prefill: Speed & { readonly percentOfPeak?: number };
  readonly firstToken: { readonly milliseconds: number; readonly range: Range };
  /** percentOfBandwidth: weights read once a token, of the CPU's best read of the files. */
  readonly decode: Speed & { readonly percentOfBandwidth?: number };
  readonly depths: readonly (Speed & { readonly depth: number })[];
  readonly streams: {
    readonly count: number;
    readonly tokensPerSecond: number;
    readonly range: Range;
    readonly percentOfPeak?: number;
  };
  readonly memory: { readonly residentBytes: number; readonly range: Range };
  /** The best windows. */
  readonly limits: Limits;
}

export function benchCommand(): Command {
  const command = new Command('bench')
    .description('Measures loading, speed of prompts and generation, and memory.')
    .addArgument(modelArgument())
    .option('--prompt <n>', 'tokens of the prompt', integer, 512)
    .option('--generate <n>', 'tokens to generate after it', integer, 64)
    .option('--depths <list>', 'generate after prompts of these sizes too: 64,2048', integers)
    .option('--streams <n>', 'generations at the same time', integer, 8)
    .option('--latency', 'measure what requests cost one another instead')
    .option('--long <n>', 'with --latency: tokens of the long prompt', integer, 3000)
    .option('--repeat <n>', 'runs; the median and the range are shown', integer, 3)
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
The files are read once before anything is timed.
  load       until a second copy of the model could take a request
  prefill    tokens of the prompt by the time to process it
  decode     one generation after that prompt
  streams    several generations after short prompts, all their tokens
  memory     resident at the end of a run, mapped files included
  int8 peak  of a loop that only multiplies and adds, before and after each run
  bandwidth  of the best plain read of the files: weights are read once a token

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
  for (const name of ['prompt', 'streams', 'long', 'repeat'] as const) {
    if (flags[name] < 1) command.error(`--${name} must be at least 1`);
  }
  for (const name of ['streams', 'repeat'] as const) {
    if (flags[name] > MOST_RUNS) command.error(`--${name} must be at most ${MOST_RUNS}`);
  }
  if (flags.generate < 2) command.error('--generate must be at least 2');
  if (flags.depths?.some((depth) => depth < 1)) command.error('--depths must be at least 1');
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
  const longest = Math.max(flags.prompt, STREAM_PROMPT, ...(flags.depths ?? []));
  const { contextSize, path, threads } = model.info;
  if (longest + flags.generate > contextSize) {
    const sum = `${longest} tokens of prompt and ${flags.generate} generated`;
    command.error(`${sum} are more than the context of ${contextSize}: see --context-size`);
  }
  const probe = await LimitsProbe.open(path, threads.count);
  const report = await new Bench(model, flags, signal, progress, probe).run();
  return flags.json ? json(report) : table(report);
}

function json(report: Report | LatencyReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** Generations at the same time, and runs, at most. */
const MOST_RUNS = 1000;

/** Tokens of the prompts of streams: short, so that nearly all the time goes to generation. */
const STREAM_PROMPT = 16;

class Bench {
  private readonly prompts: RandomPrompts;

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
    await this.generate(STREAM_PROMPT, 2); // Touches every weight once.
    const loads = await this.repeat('load', () => this.load());
    const prefills: number[] = [];
    const peaks: number[] = [];
    const firsts: number[] = [];
    const decodes: number[] = [];
    const memory: number[] = [];
    await this.repeat('prefill and decode', async () => {
      const { result, peak } = await probe.around(async () => {
        const timings = await this.generate(flags.prompt, flags.generate);
        memory.push(process.memoryUsage.rss());
        return timings;
      });
      const { promptMs, generateMs } = result;
      prefills.push(flags.prompt / (promptMs / 1000));
      peaks.push(peak);
      firsts.push(promptMs);
      decodes.push((flags.generate - 1) / (generateMs / 1000));
    });
    const depths: Report['depths'][number][] = [];
    for (const depth of flags.depths ?? []) {
      const speeds = await this.repeat(`decode at ${depth}`, async () => {
        const { generateMs } = await this.generate(depth, flags.generate);
        return (flags.generate - 1) / (generateMs / 1000);
      });
      depths.push({ depth, ...speed(flags.generate, speeds) });
    }
    const streamPeaks: number[] = [];
    const streams = await this.repeat('streams', async () => {
      const { result, peak } = await probe.around(() => this.streams());
      streamPeaks.push(peak);
      return result;
    });
    return {
      model: model.info.path,
      implementation: model.info.implementation,
      threads: model.info.threads.count,
      load: { milliseconds: median(loads), range: range(loads) },
      prefill: { ...speed(flags.prompt, prefills), ...this.percentOfPeak(prefills, peaks) },
      firstToken: { milliseconds: median(firsts), range: range(firsts) },
      decode: { ...speed(flags.generate, decodes), ...this.percentOfBandwidth(decodes) },
      depths,
      streams: {
        count: flags.streams,
        tokensPerSecond: median(streams),
        range: range(streams),
        ...this.percentOfPeak(streams, streamPeaks),
      },
      memory: { residentBytes: median(memory), range: range(memory) },
      limits: probe.best,
    };
  }

  private percentOfBandwidth(speeds: number[]): { percentOfBandwidth?: number } {
    if (this.model.info.backend.name !== 'cpu') return {};
    const { best, cost } = this.probe;
    const bytesPerSecond = median(speeds) * cost.bytes;
    return { percentOfBandwidth: (100 * bytesPerSecond) / best.readBytesPerSecond };
  }

  /** The median of each run's speed by the peak around it. */
  private percentOfPeak(speeds: number[], peaks: number[]): { percentOfPeak?: number } {
    if (this.model.info.backend.name !== 'cpu' || Math.min(...peaks) === 0) return {};
    const { promptOperations } = this.probe.cost;
    const percents = speeds.map((speed, i) => (100 * speed * promptOperations) / peaks[i]!);
    return { percentOfPeak: median(percents) };
  }

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

  /** Generates exactly `tokens` tokens after a prompt no earlier run had. */
  private async generate(
    promptTokens: number,
    tokens: number,
  ): Promise<GenerationResult['timings']> {
    const generation = this.model.generate(this.prompts.next(promptTokens), {
      maxTokens: tokens,
      temperature: 0,
      ignoreEos: true,
      signal: this.signal,
    });
    const { timings } = await generation.result();
    this.signal.throwIfAborted();
    return timings;
  }

  /** Tokens per second of all streams, from the first token of any to the last of all. */
  private async streams(): Promise<number> {
    const { streams, generate } = this.flags;
    const all = await Promise.all(
      Array.from({ length: streams }, () => this.generate(STREAM_PROMPT, generate)),
    );
    const firstToken = Math.min(...all.map((t) => t.queuedMs + t.promptMs));
    const lastToken = Math.max(...all.map((t) => t.queuedMs + t.promptMs + t.generateMs));
    return (streams * generate - 1) / ((lastToken - firstToken) / 1000);
  }
}

function speed(tokens: number, speeds: readonly number[]): Speed {
  return { tokens, tokensPerSecond: median(speeds), range: range(speeds) };
}

function table(report: Report): string {
  const { load, prefill, firstToken, decode, depths, streams, memory, limits } = report;
  const mebibytes = (bytes: number) => bytes / 2 ** 20;
  const percent = (value: number | undefined, of: string) =>
    value === undefined ? '' : `${show(value)}% of ${of}`;
  return (
    `${report.model}\n${report.implementation}, ${report.threads} threads\n` +
    row('load', load.milliseconds, 'ms', load.range) +
    row(
      `prefill ${prefill.tokens}`,
      prefill.tokensPerSecond,
      'tokens/s',
      prefill.range,
      percent(prefill.percentOfPeak, 'the int8 peak'),
    ) +
    row('first token', firstToken.milliseconds, 'ms', firstToken.range) +
    row(
      `decode ${decode.tokens}`,
      decode.tokensPerSecond,
      'tokens/s',
      decode.range,
      percent(decode.percentOfBandwidth, 'the bandwidth'),
    ) +
    depths
      .map((at) => row(`decode at ${at.depth}`, at.tokensPerSecond, 'tokens/s', at.range))
      .join('') +
    row(
      `${streams.count} streams`,
      streams.tokensPerSecond,
      'tokens/s',
      streams.range,
      percent(streams.percentOfPeak, 'the int8 peak'),
    ) +
    row('resident memory', mebibytes(memory.residentBytes), 'MiB', [
      mebibytes(memory.range[0]),
      mebibytes(memory.range[1]),
    ]) +
    `This machine: reads ${show(limits.readBytesPerSecond / 1e9)} GB/s, ` +
    `int8 peak ${show(limits.int8OperationsPerSecond / 1e9)} GOP/s.\n`
  );
}
