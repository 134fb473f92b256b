/** Results as tables for a terminal. */
import type { Result } from './result';

/** One run: throughput, then each latency. */
export function runTable(result: Result): string {
  return `${head(result)}\n${columns([throughputNames(result), throughput(result)])}${latencies(result)}`;
}

/** Several runs, one a row. */
export function runsTable(results: readonly Result[]): string {
  const first = results[0]!;
  const names = ['concurrency', ...throughputNames(first), 'TTFT ms', 'p99'];
  const rows = results.map((result) => [
    String(result.max_concurrency),
    ...throughput(result),
    ...(['ttft', 'tpot', 'e2el'] as const).flatMap((metric) =>
      result.completed === 0
        ? ['-', '-']
        : [show(result[`median_${metric}_ms`]), show(result[`p99_${metric}_ms`])],
    ),
  ]);
  return (
    `${first.model_id}, ${first.backend}, ${first.num_prompts} prompts for each row; medians\n` +
    columns([[...names, 'TPOT ms', 'p99', 'E2EL ms', 'p99'], ...rows]) +
    results.map((result) => notes(result, `concurrency ${result.max_concurrency!}: `)).join('')
  );
}

function head(result: Result): string {
  const { completed, num_prompts: prompts, duration, request_rate: rate } = result;
  const most = result.max_concurrency;
  const traffic = [
    ...(rate === 'inf' ? [] : [`${rate} requests/s asked for`]),
    ...(most === null ? [] : [`at most ${most} at once`]),
  ];
  return (
    `${[result.model_id, result.backend, ...traffic].join(', ')}\n` +
    `${completed} of ${prompts} requests completed in ${show(duration)} s: ` +
    `${result.total_input_tokens} tokens in, ${result.total_output_tokens} out\n` +
    notes(result)
  );
}

function notes(result: Result, prefix = ''): string {
  const { interrupted, error_kinds: kinds, completed } = result;
  const lines = [
    ...(interrupted ? ['interrupted: what was measured so far'] : []),
    ...kinds.map(({ kind, count, message }) => `${count} failed: ${kind}: ${message}`),
    ...(result.without_usage > 0
      ? [`${result.without_usage} of ${completed} answers had no usage: their chunks were counted`]
      : []),
    ...(result.ended_early > 0
      ? [
          `${result.ended_early} of ${completed} outputs ended before the length asked for: ` +
            '--ignore-eos goes on to it, on servers that have it',
        ]
      : []),
  ];
  return lines.map((line) => `${prefix}${line}\n`).join('');
}

function throughputNames(result: Result): string[] {
  const goodput = result.request_goodput === null ? [] : ['goodput/s'];
  return ['requests/s', ...goodput, 'output tokens/s', 'total tokens/s'];
}

function throughput(result: Result): string[] {
  const { request_goodput: goodput } = result;
  return [
    show(result.request_throughput),
    ...(goodput === null ? [] : [show(goodput)]),
    show(result.output_throughput),
    show(result.total_token_throughput),
  ];
}

function latencies(result: Result): string {
  if (result.completed === 0) return '';
  const row = (name: string, metric: 'ttft' | 'tpot' | 'itl' | 'e2el' | 'client_queue_time') =>
    [
      name,
      ...(['mean', 'median', 'p99', 'std'] as const).map((figure) =>
        show(result[`${figure}_${metric}_ms`]!),
      ),
    ] as const;
  const rows = [
    ['ms', 'mean', 'median', 'p99', 'std'],
    row('TTFT', 'ttft'),
    row('TPOT', 'tpot'),
    row('ITL', 'itl'),
    row('E2EL', 'e2el'),
    ...(result.mean_client_queue_time_ms === undefined
      ? []
      : [row('client queue', 'client_queue_time')]),
  ];
  return `\n${columns(rows, true)}`;
}

/** Three figures, or all before the point. @example 0.0531, 4.20, 18.3, 1024 */
export function show(value: number): string {
  if (value === 0) return '0';
  if (value >= 100) return value.toFixed(0);
  return value >= 0.001 ? value.toPrecision(3) : value.toExponential(1);
}

/** Aligned to the right, but for a first column of names. */
function columns(rows: readonly (readonly string[])[], names = false): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number) =>
    names && column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!);
  return rows.map((row) => `${row.map(pad).join('  ')}\n`).join('');
}
