/** What a run's samples come to, under the names `vllm bench serve` gives them. */
import type { Endpoint, ModelName } from './client';
import type { Sample, Samples } from './load';
import { sum, summarize } from './statistics';

/** The longest a good request may take, in milliseconds. */
export interface Limits {
  readonly ttft?: number;
  readonly tpot?: number;
  readonly e2el?: number;
}

export interface Settings {
  readonly endpoint: Endpoint;
  readonly model: ModelName;
  readonly numPrompts: number;
  readonly requestRate: number;
  readonly burstiness: number;
  readonly maxConcurrency: number | undefined;
  readonly goodput: Limits | undefined;
}

type Metric = 'ttft' | 'tpot' | 'itl' | 'e2el';
type QueueMetric = 'client_queue_time' | 'e2el_including_client_queue';
type Figures<Names extends string> = Record<
  `${'mean' | 'median' | 'std' | 'p99'}_${Names}_ms`,
  number
>;

/** Times with `_ms` are milliseconds; `duration` is seconds; throughputs are by the second. */
export interface Result extends Figures<Metric>, Partial<Figures<QueueMetric>> {
  readonly date: string;
  readonly endpoint_type: string;
  readonly backend: string;
  readonly model_id: string;
  readonly tokenizer_id: string;
  readonly num_prompts: number;
  readonly request_rate: number | 'inf';
  readonly burstiness: number | 'inf';
  readonly max_concurrency: number | null;
  readonly duration: number;
  readonly completed: number;
  readonly failed: number;
  readonly total_input_tokens: number;
  readonly total_output_tokens: number;
  readonly request_throughput: number;
  readonly request_goodput: number | null;
  readonly output_throughput: number;
  readonly total_token_throughput: number;
  readonly max_output_tokens_per_s: number;
  readonly max_concurrent_requests: number;
  /** From here on the names are ours. */
  readonly interrupted: boolean;
  /** Answers that ended before as many tokens as were asked for. */
  readonly ended_early: number;
  /** Answers without usage, whose chunks were counted. */
  readonly without_usage: number;
  readonly error_kinds: readonly ErrorKind[];
}

export interface ErrorKind {
  readonly kind: string;
  readonly count: number;
  /** The first one's. */
  readonly message: string;
}

export function resultOf(samples: Samples, settings: Settings): Result {
  const { completed, failures, duration, interrupted } = samples;
  const { model, maxConcurrency, requestRate, goodput } = settings;
  const backend = settings.endpoint === 'chat' ? 'openai-chat' : 'openai';
  const perSecond = (count: number) => (duration === 0 ? 0 : count / (duration / 1000));
  const input = sum(completed.map(({ inputTokens }) => inputTokens));
  const output = sum(completed.map(({ outputTokens }) => outputTokens));
  return {
    date: timestamp(new Date()),
    endpoint_type: backend,
    backend,
    model_id: model.id,
    tokenizer_id: model.root,
    num_prompts: settings.numPrompts,
    request_rate: orInf(requestRate),
    burstiness: orInf(settings.burstiness),
    max_concurrency: maxConcurrency ?? null,
    duration: duration / 1000,
    completed: completed.length,
    failed: failures.length,
    total_input_tokens: input,
    total_output_tokens: output,
    request_throughput: perSecond(completed.length),
    request_goodput: goodput
      ? perSecond(completed.filter((sample) => isGood(sample, goodput)).length)
      : null,
    output_throughput: perSecond(output),
    total_token_throughput: perSecond(input + output),
    max_output_tokens_per_s: mostChunksInASecond(completed),
    max_concurrent_requests: mostAtOnce(completed),
    ...figures(
      'ttft',
      completed.map(({ ttft }) => ttft),
    ),
    ...figures('tpot', completed.filter(({ outputTokens }) => outputTokens > 1).map(tpot)),
    ...figures(
      'itl',
      completed.flatMap(({ gaps }) => gaps),
    ),
    ...figures(
      'e2el',
      completed.map(({ latency }) => latency),
    ),
    ...(maxConcurrency !== undefined && {
      ...figures(
        'client_queue_time',
        completed.map(({ queued }) => queued),
      ),
      ...(requestRate !== Infinity &&
        figures(
          'e2el_including_client_queue',
          completed.map(({ latency, queued }) => latency + queued),
        )),
    }),
    interrupted,
    ended_early: completed.filter((one) => one.outputTokens < one.askedTokens).length,
    without_usage: completed.filter(({ hasUsage }) => !hasUsage).length,
    error_kinds: errorKinds(failures),
  };
}

/** Milliseconds a token after the first; 0 of an answer that has no second. */
function tpot({ latency, ttft, outputTokens }: Sample): number {
  return outputTokens > 1 ? (latency - ttft) / (outputTokens - 1) : 0;
}

function isGood(sample: Sample, limits: Limits): boolean {
  return (
    sample.ttft <= (limits.ttft ?? Infinity) &&
    tpot(sample) <= (limits.tpot ?? Infinity) &&
    sample.latency <= (limits.e2el ?? Infinity)
  );
}

function figures<Name extends string>(name: Name, values: readonly number[]): Figures<Name> {
  const { mean, median, std, p99 } = summarize(values);
  return {
    [`mean_${name}_ms`]: mean,
    [`median_${name}_ms`]: median,
    [`std_${name}_ms`]: std,
    [`p99_${name}_ms`]: p99,
  } as Figures<Name>;
}

/** Seconds are counted from when the first request was sent. */
function mostChunksInASecond(samples: readonly Sample[]): number {
  const first = samples.reduce((least, { sentAt }) => Math.min(least, sentAt), Infinity);
  const seconds = new Map<number, number>();
  for (const { sentAt, ttft, gaps } of samples) {
    let at = sentAt + ttft - first;
    for (const gap of [0, ...gaps]) {
      at += gap;
      const second = Math.floor(at / 1000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
  }
  return [...seconds.values()].reduce((most, count) => Math.max(most, count), 0);
}

/** Of requests that touch, one has ended before the other begins. */
function mostAtOnce(samples: readonly Sample[]): number {
  const steps = samples.flatMap(({ sentAt, latency }): [number, number][] => [
    [sentAt, 1],
    [sentAt + latency, -1],
  ]);
  steps.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let now = 0;
  let most = 0;
  for (const [, step] of steps) {
    now += step;
    most = Math.max(most, now);
  }
  return most;
}

function errorKinds(failures: Samples['failures']): ErrorKind[] {
  const kinds = new Map<string, ErrorKind>();
  for (const { kind, message } of failures) {
    const known = kinds.get(kind);
    kinds.set(kind, { kind, count: (known?.count ?? 0) + 1, message: known?.message ?? message });
  }
  return [...kinds.values()].sort((a, b) => b.count - a.count);
}

/** JSON has no infinity. */
function orInf(value: number): number | 'inf' {
  return value === Infinity ? 'inf' : value;
}

/** @example 20261127-041500, local time */
function timestamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}
