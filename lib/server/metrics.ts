/** What a server counts, for Prometheus: under our names, and the same under vLLM's. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { GenerationResult } from '../model/generation';
import type { Served } from './models';

const PREFIXES = ['tramontane_', 'vllm:'] as const;

const FIRST_TOKEN_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const BETWEEN_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5,
];
const REQUEST_S = [
  0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480,
];

const GAUGES = {
  num_requests_running: 'Requests that take part in steps.',
  num_requests_waiting: 'Requests that wait for their turn.',
  kv_cache_usage_perc: 'Part of the KV cache that running requests hold, 0 to 1.',
} as const;

const COUNTERS = {
  prompt_tokens_total: 'Tokens of prompts.',
  generation_tokens_total: 'Tokens generated.',
  prefix_cache_queries: 'Tokens of prompts that were looked up in the prefix cache.',
  prefix_cache_hits: 'Tokens of prompts that the prefix cache had.',
} as const;

const HISTOGRAMS = {
  time_to_first_token_seconds: ['From the request to its first token.', FIRST_TOKEN_S],
  inter_token_latency_seconds: ['Between two tokens of an answer.', BETWEEN_S],
  e2e_request_latency_seconds: ['From the request to its last token.', REQUEST_S],
  request_queue_time_seconds: ['From the request to its first step.', REQUEST_S],
  request_prefill_time_seconds: ['From the first step to the first token.', REQUEST_S],
  request_decode_time_seconds: ['From the first token to the last.', REQUEST_S],
} as const;

type Name = keyof typeof COUNTERS | keyof typeof HISTOGRAMS;

/** The names under `tramontane_`, as dashboards use them. */
export const METRIC_NAMES: readonly string[] = [
  ...Object.keys(GAUGES),
  ...Object.keys(COUNTERS),
  ...Object.keys(HISTOGRAMS),
  'request_success_total',
  'request_aborted_total',
  'http_requests_total',
  'cache_config_info',
].map((name) => `tramontane_${name}`);

const MODEL = ['model_name'] as const;

export class Metrics {
  readonly registry = new Registry();
  readonly #counters = new Map<string, readonly Counter[]>();
  readonly #histograms = new Map<string, readonly Histogram[]>();

  constructor(models: readonly Served[]) {
    const registers = [this.registry];
    const values: Record<keyof typeof GAUGES, (served: Served) => number> = {
      num_requests_running: ({ model }) => model.info.requests.running,
      num_requests_waiting: ({ model, admission }) =>
        model.info.requests.waiting + admission.queued,
      kv_cache_usage_perc: ({ model }) => {
        const { pagesInUse, tokens } = model.info.kvCache;
        return (pagesInUse * 32) / tokens;
      },
    };
    for (const prefix of PREFIXES) {
      for (const [name, help] of Object.entries(GAUGES)) {
        const value = values[name as keyof typeof GAUGES];
        new Gauge({
          name: prefix + name,
          help,
          registers,
          labelNames: MODEL,
          collect() {
            for (const served of models) this.set({ model_name: served.name }, value(served));
          },
        });
      }
      new Gauge({
        name: `${prefix}cache_config_info`,
        help: 'How the KV cache is laid out.',
        registers,
        labelNames: ['model_name', 'block_size', 'num_gpu_blocks', 'cache_dtype'],
        collect() {
          for (const { name, model } of models) {
            const { type, tokens } = model.info.kvCache;
            const labels = {
              model_name: name,
              block_size: 32,
              num_gpu_blocks: tokens / 32,
              cache_dtype: type,
            };
            this.set(labels, 1);
          }
        },
      });
    }
    const each = <T>(make: (prefix: string) => T): readonly T[] => PREFIXES.map(make);
    const counter = (name: string, help: string, labelNames: readonly string[]) => {
      this.#counters.set(
        name,
        each((prefix) => new Counter({ name: prefix + name, help, registers, labelNames })),
      );
    };
    for (const [name, help] of Object.entries(COUNTERS)) counter(name, help, MODEL);
    counter('request_success_total', 'Requests answered.', ['model_name', 'finished_reason']);
    counter('request_aborted_total', 'Requests that were ended before their answer was.', MODEL);
    counter('http_requests_total', 'HTTP requests.', ['method', 'route', 'status']);
    for (const [name, [help, buckets]] of Object.entries(HISTOGRAMS)) {
      this.#histograms.set(
        name,
        each(
          (prefix) =>
            new Histogram({
              name: prefix + name,
              help,
              registers,
              labelNames: MODEL,
              buckets: [...buckets],
            }),
        ),
      );
    }
  }

  firstToken(model: string, ms: number): void {
    this.#observe('time_to_first_token_seconds', model, ms);
  }

  /** `count` tokens that came together, so long after those before. */
  nextTokens(model: string, ms: number, count: number): void {
    for (let i = 0; i < count; ++i) this.#observe('inter_token_latency_seconds', model, ms / count);
  }

  finished(
    model: string,
    { usage, timings, finishReason }: GenerationResult,
    { queuedMs, totalMs }: { readonly queuedMs: number; readonly totalMs: number },
  ): void {
    this.#add('prompt_tokens_total', model, usage.promptTokens);
    this.#add('generation_tokens_total', model, usage.completionTokens);
    this.#add('prefix_cache_queries', model, usage.promptTokens);
    this.#add('prefix_cache_hits', model, usage.cachedTokens);
    this.#observe('e2e_request_latency_seconds', model, totalMs);
    this.#observe('request_queue_time_seconds', model, queuedMs + timings.queuedMs);
    this.#observe('request_prefill_time_seconds', model, timings.promptMs);
    this.#observe('request_decode_time_seconds', model, timings.generateMs);
    for (const counter of this.#counters.get('request_success_total')!) {
      counter.inc({ model_name: model, finished_reason: finishReason });
    }
  }

  aborted(model: string): void {
    for (const counter of this.#counters.get('request_aborted_total')!) {
      counter.inc({ model_name: model });
    }
  }

  answered(method: string, route: string, status: number): void {
    for (const counter of this.#counters.get('http_requests_total')!) {
      counter.inc({ method, route, status: String(status) });
    }
  }

  #add(name: Name, model: string, value: number): void {
    for (const counter of this.#counters.get(name)!) counter.inc({ model_name: model }, value);
  }

  #observe(name: Name, model: string, ms: number): void {
    for (const histogram of this.#histograms.get(name)!) {
      histogram.observe({ model_name: model }, ms / 1000);
    }
  }
}
