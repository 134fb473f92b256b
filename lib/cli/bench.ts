/** `tramontane bench`: how fast a model runs here. */
import { Command } from 'commander';
import { Model, type GenerationResult } from '../index';
import { addLoadOptions, integer, loadFlags, type LoadFlags } from './options';
import { Progress } from './progress';
import { EMBEDDED_MODEL, withModel } from './session';

interface Flags extends LoadFlags {
  readonly prompt: number;
  readonly generate: number;
  readonly streams: number;
  readonly repeat: number;
  readonly json?: true;
}

type Range = readonly [least: number, greatest: number];

/** Each figure is the median of the runs, with the least and the greatest beside it. */
interface Report {
  readonly model: string;
  readonly implementation: string;
  readonly threads: number;
  readonly load: { readonly milliseconds: number; readonly range: Range };
  readonly prefill: { readonly tokens: number; readonly tokensPerSecond: number; range: Range };
  readonly decode: { readonly tokens: number; readonly tokensPerSecond: number; range: Range };
  readonly streams: { readonly count: number; readonly tokensPerSecond: number; range: Range };
  readonly memory: { readonly residentBytes: number; readonly range: Range };
}

export function benchCommand(): Command {
  const command = new Command('bench')
    .description('Measures load time, speed of prompts and of generation, and memory.')
    .argument('[model]', 'a .gguf file or a Hugging Face directory (default: the embedded model)')
    .option('--prompt <n>', 'tokens of the prompt', integer, 512)
    .option('--generate <n>', 'tokens to generate after it', integer, 64)
    .option('--streams <n>', 'generations at the same time', integer, 8)
    .option('--repeat <n>', 'runs; the median and the range are shown', integer, 3)
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
The files are read once before anything is timed, so load is with a warm page cache.
prefill: tokens of the prompt by the time to process it. decode: one generation after that prompt.
streams: several generations after short prompts, all their tokens. memory: resident at the end of
a run, mapped files included.

Examples:
  $ tramontane bench mistral-7b.Q4_K_M.gguf
  $ tramontane bench mistral-7b.Q4_K_M.gguf --prompt 2048 --generate 128 --repeat 5 --json`,
    )
    .action(bench);
  return addLoadOptions(command);
}

async function bench(path: string | undefined, flags: Flags, command: Command): Promise<void> {
  for (const name of ['prompt', 'streams', 'repeat'] as const) {
    if (flags[name] < 1) command.error(`--${name} must be at least 1`);
  }
  if (flags.generate < 2) command.error('--generate must be at least 2');
  await withModel(path ?? EMBEDDED_MODEL, flags, async (model, signal) => {
    const progress = new Progress();
    try {
      const report = await new Bench(model, flags, signal, progress).run();
      progress.clear();
      process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : table(report));
    } finally {
      progress.clear();
    }
  });
}

/** Tokens of the prompts of streams: short, so that nearly all the time goes to generation. */
const STREAM_PROMPT = 16;

class Bench {
  private randomState = 1;

  constructor(
    private readonly model: Model,
    private readonly flags: Flags,
    private readonly signal: AbortSignal,
    private readonly progress: Progress,
  ) {}

  async run(): Promise<Report> {
    const { model, flags } = this;
    await this.generate(STREAM_PROMPT, 2); // Touches every weight once.
    const loads = await this.repeat('load', () => this.load());
    const prefills: number[] = [];
    const decodes: number[] = [];
    const memory: number[] = [];
    await this.repeat('prefill and decode', async () => {
      const { promptMs, generateMs } = await this.generate(flags.prompt, flags.generate);
      prefills.push(flags.prompt / (promptMs / 1000));
      decodes.push((flags.generate - 1) / (generateMs / 1000));
      memory.push(process.memoryUsage.rss());
    });
    const streams = await this.repeat('streams', () => this.streams());
    return {
      model: model.info.path,
      implementation: model.info.implementation,
      threads: model.info.threads.count,
      load: { milliseconds: median(loads), range: range(loads) },
      prefill: { tokens: flags.prompt, tokensPerSecond: median(prefills), range: range(prefills) },
      decode: { tokens: flags.generate, tokensPerSecond: median(decodes), range: range(decodes) },
      streams: { count: flags.streams, tokensPerSecond: median(streams), range: range(streams) },
      memory: { residentBytes: median(memory), range: range(memory) },
    };
  }

  private async repeat<T>(phase: string, run: () => Promise<T>): Promise<T[]> {
    const results: T[] = [];
    for (let index = 0; index < this.flags.repeat; ++index) {
      this.progress.update(phase, index / this.flags.repeat);
      results.push(await run());
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
    const generation = this.model.generate(this.prompt(promptTokens), {
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

  /** Pseudo-random ids (a linear congruential generator), so that no prefix is in the cache. */
  private prompt(tokens: number): number[] {
    return Array.from({ length: tokens }, () => {
      this.randomState = (Math.imul(this.randomState, 1664525) + 1013904223) >>> 0;
      return Math.floor((this.randomState / 2 ** 32) * this.model.info.vocabularySize);
    });
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

function range(values: readonly number[]): Range {
  return [Math.min(...values), Math.max(...values)];
}

function table(report: Report): string {
  const { load, prefill, decode, streams, memory } = report;
  const mebibytes = (bytes: number) => bytes / 2 ** 20;
  const row = (name: string, value: number, unit: string, limits: Range) =>
    `${name.padEnd(18)}${show(value).padStart(10)} ${unit.padEnd(10)}` +
    `(${show(limits[0])} to ${show(limits[1])})\n`;
  return (
    `${report.model}\n${report.implementation}, ${report.threads} threads\n` +
    row('load', load.milliseconds, 'ms', load.range) +
    row(`prefill ${prefill.tokens}`, prefill.tokensPerSecond, 'tokens/s', prefill.range) +
    row(`decode ${decode.tokens}`, decode.tokensPerSecond, 'tokens/s', decode.range) +
    row(`${streams.count} streams`, streams.tokensPerSecond, 'tokens/s', streams.range) +
    row('resident memory', mebibytes(memory.residentBytes), 'MiB', [
      mebibytes(memory.range[0]),
      mebibytes(memory.range[1]),
    ])
  );
}

function show(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}
