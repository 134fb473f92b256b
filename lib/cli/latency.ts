/** `tramontane bench --latency`: what requests that share a model cost one another. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Model } from '../index';
import { row, show } from './bench-table';
import type { Progress } from './progress';
import { RandomPrompts } from './random-prompts';
import { figure, median, type Figure } from './statistics';

/** Tokens of the prompts that come while a long one is computed, one after the other. */
const SHORT_PROMPTS = [16, 200] as const;
/** How much of the long prompt's time alone passes before they come. */
const HEAD_START = 0.1;
/** Tokens that a running generation gives before a prompt comes: their gaps are the plain ones. */
const PLAIN_TOKENS = 16;
/** Rows of the steps whose cost is measured. Steps have 128 rows of prompts at most. */
const STEP_ROWS = [1, 4, 8, 16, 32, 64, 128, 512] as const;

export interface LatencySizes {
  /** Tokens of the long prompt. */
  readonly long: number;
  /** Tokens of the prompt beside a running generation. */
  readonly prompt: number;
  /** Rounds. */
  readonly repeat: number;
}

/** Times in milliseconds. Ratios are medians of each round's. */
export interface LatencyReport {
  readonly model: string;
  readonly implementation: string;
  readonly threads: number;
  /** Prompts that come while the long one is computed: until their first token. */
  readonly among: readonly {
    readonly tokens: number;
    readonly alone: Figure;
    readonly among: Figure;
    readonly timesAlone: number;
  }[];
  readonly long: {
    readonly tokens: number;
    readonly alone: Figure;
    /** With the short ones meanwhile. */
    readonly among: Figure;
    /** Of the time of all prompts one by one. */
    readonly percentOfAll: number;
  };
  /** A running generation, and a prompt that comes meanwhile. */
  readonly generation: {
    readonly plainGap: Figure;
    readonly longestGap: Figure;
    readonly gaps: number;
    readonly prompt: {
      readonly tokens: number;
      readonly alone: Figure;
      readonly beside: Figure;
      /** Of its speed alone. */
      readonly percentOfSpeed: number;
    };
  };
  /** What a step costs by its rows: how far the kernels for few rows are from those for many. */
  readonly steps: readonly {
    readonly rows: number;
    readonly cost: Figure;
    readonly timesOneRow: number;
    readonly rowsPerSecond: number;
  }[];
}

/** Tokens of the cache that a measurement needs. */
export function latencyTokens({ long, prompt }: LatencySizes): number {
  const short = SHORT_PROMPTS.reduce((sum, tokens) => sum + tokens + 1, 0);
  return Math.max(long + 1 + short, SHORT_PROMPTS[0] + PLAIN_TOKENS + 2 * prompt + 1);
}

export class LatencyBench {
  private readonly prompts: RandomPrompts;

  constructor(
    private readonly model: Model,
    private readonly sizes: LatencySizes,
    private readonly signal: AbortSignal,
    private readonly progress: Progress,
  ) {
    this.prompts = new RandomPrompts(model.info.vocabularySize);
  }

  async run(): Promise<LatencyReport> {
    const { model, sizes } = this;
    await this.firstToken(SHORT_PROMPTS[0]); // Touches every weight once.
    const queues = await this.repeat('prompts behind a long one', () => this.queue());
    const besides = await this.repeat('a prompt beside a generation', () => this.beside());
    const rows = STEP_ROWS.filter((rows) => rows < model.info.contextSize);
    const costs = await this.repeat('steps', async () => {
      const round = [];
      for (const count of rows) round.push(await this.promptTime(count));
      return round;
    });
    return {
      model: model.info.path,
      implementation: model.info.implementation,
      threads: model.info.threads.count,
      among: SHORT_PROMPTS.map((tokens, index) => ({
        tokens,
        alone: figure(queues.map(({ alone }) => alone[index]!)),
        among: figure(queues.map(({ among }) => among[index]!)),
        timesAlone: median(queues.map(({ alone, among }) => among[index]! / alone[index]!)),
      })),
      long: {
        tokens: sizes.long,
        alone: figure(queues.map(({ longAlone }) => longAlone)),
        among: figure(queues.map(({ longAmong }) => longAmong)),
        percentOfAll: median(
          queues.map(
            ({ alone, longAlone, longAmong }) => (100 * longAmong) / (longAlone + sum(alone)),
          ),
        ),
      },
      generation: {
        plainGap: figure(besides.map(({ plainGap }) => plainGap)),
        longestGap: figure(besides.map(({ longestGap }) => longestGap)),
        gaps: median(besides.map(({ plainGap, longestGap }) => longestGap / plainGap)),
        prompt: {
          tokens: sizes.prompt,
          alone: figure(besides.map(({ alone }) => alone)),
          beside: figure(besides.map(({ beside }) => beside)),
          percentOfSpeed: median(besides.map(({ alone, beside }) => (100 * alone) / beside)),
        },
      },
      steps: rows.map((rows, index) => {
        const times = costs.map((round) => round[index]!);
        return {
          rows,
          cost: figure(times),
          timesOneRow: median(costs.map((round) => round[index]! / round[0]!)),
          rowsPerSecond: rows / (median(times) / 1000),
        };
      }),
    };
  }

  /** All prompts alone, then the short ones while the long one is computed. */
  private async queue() {
    const alone = [];
    for (const tokens of SHORT_PROMPTS) alone.push(await this.firstToken(tokens));
    const longAlone = await this.firstToken(this.sizes.long);
    const long = this.firstToken(this.sizes.long);
    await wait(HEAD_START * longAlone);
    const among = [];
    for (const tokens of SHORT_PROMPTS) among.push(await this.firstToken(tokens));
    return { alone, longAlone, among, longAmong: await long };
  }

  /** A generation alone for a while, and then with a prompt beside it, to the end of that. */
  private async beside() {
    const { prompt: tokens } = this.sizes;
    const alone = await this.firstToken(tokens);
    const { tokenizer } = this.model;
    const generation = this.model.generate(this.prompts.next(SHORT_PROMPTS[0]), {
      // A step gives the prompt a row at least.
      maxTokens: PLAIN_TOKENS + tokens,
      // A token of text for sure: one that ends no character would wait for the next.
      allowedTokens: tokenizer.encode('a', { bos: false }).slice(-1),
      ignoreEos: true,
      signal: this.signal,
    });
    const gaps: number[] = [];
    let prompt: Promise<void> | undefined;
    let beside: number | undefined;
    let last: number | undefined;
    for await (const { text } of generation) {
      if (text === '') continue;
      const now = performance.now();
      if (last !== undefined) gaps.push(now - last);
      last = now;
      if (beside !== undefined) break;
      if (gaps.length < PLAIN_TOKENS - 1) continue;
      prompt ??= this.firstToken(tokens).then((time) => {
        beside = time;
      });
    }
    await prompt;
    this.signal.throwIfAborted();
    return {
      alone,
      beside: beside!,
      plainGap: median(gaps.slice(0, PLAIN_TOKENS - 1)),
      longestGap: Math.max(...gaps.slice(PLAIN_TOKENS - 1)),
    };
  }

  private async repeat<T>(phase: string, run: () => Promise<T>): Promise<T[]> {
    const results: T[] = [];
    for (let index = 0; index < this.sizes.repeat; ++index) {
      this.progress.update(phase, index / this.sizes.repeat);
      results.push(await run());
    }
    return results;
  }

  /** Milliseconds from the request to its first token. */
  private async firstToken(tokens: number): Promise<number> {
    const start = performance.now();
    await this.generateOne(tokens);
    return performance.now() - start;
  }

  /** Milliseconds of the prompt's steps alone. */
  private async promptTime(tokens: number): Promise<number> {
    return (await this.generateOne(tokens)).timings.promptMs;
  }

  private async generateOne(tokens: number) {
    const options = { maxTokens: 1, temperature: 0, ignoreEos: true, signal: this.signal };
    const result = await this.model.generate(this.prompts.next(tokens), options).result();
    this.signal.throwIfAborted();
    return result;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

export function latencyTable(report: LatencyReport): string {
  const { among, long, generation, steps } = report;
  const { prompt } = generation;
  const line = (name: string, figure: Figure, share?: string) => row(name, figure, 'ms', share);
  return (
    `${report.model}\n${report.implementation}, ${report.threads} threads\n` +
    among
      .map(
        (one) =>
          line(`${one.tokens} alone`, one.alone) +
          line(`${one.tokens} among`, one.among, `${show(one.timesAlone)} times`),
      )
      .join('') +
    line(`${long.tokens} alone`, long.alone) +
    line(`${long.tokens} among`, long.among, `${show(long.percentOfAll)}% of all one by one`) +
    line('gap', generation.plainGap) +
    line('longest gap', generation.longestGap, `${show(generation.gaps)} times`) +
    line(`${prompt.tokens} alone`, prompt.alone) +
    line(`${prompt.tokens} beside`, prompt.beside, `${show(prompt.percentOfSpeed)}% of the speed`) +
    steps
      .map(({ rows, cost, timesOneRow, rowsPerSecond }) => {
        const name = `step of ${rows}`;
        return line(name, cost, `${show(timesOneRow)} times, ${show(rowsPerSecond)} rows/s`);
      })
      .join('')
  );
}
