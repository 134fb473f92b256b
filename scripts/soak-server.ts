/**
 * Serves the embedded model to clients that are patient, hasty, slow, gone or wrong, and then reads
 * fuzzed bodies of every route; ends with 1 where there was a fault. Checked are: no status of 500 and
 * above but 503 (and 501 of embeddings), nothing that runs, waits or holds pages within a second of
 * the last client's end, memory as after the first thousand, and the event loop's delay. The server
 * has a process of its own.
 *   npm run test:soak -- [--requests 10000] [--bodies 100000] [--seed 1] [--at-once 48] [--nice=N]
 * Beside the delay of the server's event loop is that of a thread that does nothing: what the machine,
 * and whoever else uses it, adds. Where that is much, --nice=-15 (root's) lets the loop's thread run
 * before all others, so that what is measured is the loop.
 */
import './help';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { median } from '../lib/cli/statistics';
import { cpuName } from './machine';
import type { FuzzReport } from './soak/fuzz';
import { ServerProcess } from './soak/process';
import type { Settled, Setup } from './soak/server';
import { Traffic } from './soak/traffic';

const STEP = 1000;
const MOST_P99_MS = 10;
const MOST_IDLE_MS = 1000;
const MOST_GROWTH = 1.05;

const SETUP: Setup = {
  model: 'models/breeze-Q4_0.gguf',
  maxRunning: 16,
  nice: undefined,
  options: { maxQueuedRequests: 40, slowReaderTimeout: 1, maxTokensCap: 4000 },
};
const FUZZ_SETUP: Setup = { ...SETUP, options: { maxTokensCap: 8 } };

interface Options {
  readonly requests: number;
  readonly bodies: number;
  readonly seed: number;
  readonly atOnce: number;
  readonly nice: number | undefined;
}

/** A thread that does nothing, and how late its timers are. */
function idleThread(): { p99Ms(): Promise<number> } {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
    const loop = require('node:perf_hooks').monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    parentPort.on('message', () => {
      parentPort.postMessage(loop.percentile(99) / 1e6);
      loop.reset();
    });`,
    { eval: true },
  );
  worker.unref();
  return {
    async p99Ms() {
      worker.postMessage('');
      const [p99] = (await once(worker, 'message')) as [number];
      return p99;
    },
  };
}

class Verdict {
  readonly #failures: string[] = [];

  expect(holds: boolean, what: string): void {
    if (!holds) this.#failures.push(what);
  }

  end(): void {
    for (const failure of this.#failures) console.error(`not so: ${failure}`);
    console.log(this.#failures.length === 0 ? 'all of it holds' : 'it does not hold');
    if (this.#failures.length > 0) process.exitCode = 1;
  }
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

function show(what: string, settled: Settled, machineP99?: number): void {
  const { idleMs, rssBytes, heapBytes, codeBytes, p50Ms, p99Ms, maxMs } = settled;
  const machine =
    machineP99 === undefined ? '' : ` (an idle thread's p99 ${machineP99.toFixed(1)})`;
  console.log(
    `${what}: idle after ${idleMs?.toFixed(0) ?? 'more than 10000'} ms; RSS ${mib(rssBytes)} MiB, ` +
      `heap ${mib(heapBytes)} MiB and ${mib(codeBytes)} of code; event loop p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)}, ` +
      `max ${maxMs.toFixed(0)} ms${machine}`,
  );
}

function checkMemory(verdict: Verdict, what: string, first: Settled, last: Settled): void {
  for (const [name, key] of [
    ['RSS', 'rssBytes'],
    ['heap', 'heapBytes'],
  ] as const) {
    const growth = last[key] / first[key];
    console.log(
      `${what}: ${name} at the end is ${growth.toFixed(3)} of that after the first ${STEP}`,
    );
    verdict.expect(growth <= MOST_GROWTH, `${what}: ${name} is flat, not ${growth.toFixed(3)}`);
  }
}

function sums(total: Record<string, number>, part: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(part)) total[name] = (total[name] ?? 0) + count;
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} x ${count}`)
    .join(', ');
}

async function soak(verdict: Verdict, { requests, seed, atOnce, nice }: Options): Promise<void> {
  const server = await ServerProcess.start({ ...SETUP, nice });
  const traffic = new Traffic(server.port);
  const idle = idleThread();
  const all: Settled[] = [];
  const start = performance.now();
  for (let sent = 0; sent < requests; sent += STEP) {
    const count = Math.min(STEP, requests - sent);
    await idle.p99Ms();
    await traffic.send(seed * 1e6 + sent, count, atOnce);
    const machine = await idle.p99Ms();
    const settled = await server.ask<Settled>({ kind: 'settle' });
    all.push(settled);
    show(`${sent + count} requests`, settled, machine);
    const { idleMs = Infinity } = settled;
    verdict.expect(idleMs <= MOST_IDLE_MS, `nothing is left within a second after ${sent + count}`);
    const { left } = traffic.report;
    verdict.expect(settled.aborted >= left, `the work for ${left} that went is ended`);
    verdict.expect(settled.warnings.length === 0, `no warnings: ${settled.warnings.join('; ')}`);
  }
  const seconds = (performance.now() - start) / 1000;
  traffic.close();
  server.stop();
  const { kinds, statuses, faults } = traffic.report;
  console.log(`in ${seconds.toFixed(0)} s; clients: ${list(kinds)}`);
  console.log(`statuses: ${list(statuses)}`);
  for (const fault of faults.slice(0, 20)) console.error(fault);
  verdict.expect(faults.length === 0, `no request has a fault, but ${faults.length} have`);
  checkMemory(verdict, 'requests', all[0]!, all.at(-1)!);
  const p99s = all.map(({ p99Ms }) => p99Ms);
  const worst = Math.max(...p99s);
  console.log(`event loop p99: median ${median(p99s).toFixed(1)} ms, worst ${worst.toFixed(1)} ms`);
  verdict.expect(worst < MOST_P99_MS, `the event loop's p99 is below ${MOST_P99_MS} ms`);
}

async function fuzzAll(verdict: Verdict, { bodies, seed }: Options): Promise<void> {
  const server = await ServerProcess.start(FUZZ_SETUP);
  const statuses: Record<string, number> = {};
  const all: Settled[] = [];
  let faulty = 0;
  for (let read = 0; read < bodies; read += STEP) {
    const count = Math.min(STEP, bodies - read);
    const report = await server.ask<FuzzReport>({ kind: 'fuzz', first: seed * 1e6 + read, count });
    sums(statuses, report.statuses);
    faulty += report.faults.length;
    for (const fault of report.faults.slice(0, 5)) console.error(fault);
    const settled = await server.ask<Settled>({ kind: 'settle' });
    all.push(settled);
    if (all.length === 1 || all.length % 10 === 0) show(`${read + count} bodies`, settled);
    const { idleMs = Infinity } = settled;
    verdict.expect(idleMs <= MOST_IDLE_MS, `nothing is left within a second after ${read + count}`);
  }
  server.stop();
  console.log(`statuses: ${list(statuses)}`);
  verdict.expect(faulty === 0, `no body has a fault, but ${faulty} have`);
  checkMemory(verdict, 'bodies', all[0]!, all.at(-1)!);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '10000' },
      bodies: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
      'at-once': { type: 'string', default: '48' },
      nice: { type: 'string' },
    },
  });
  const options: Options = {
    requests: Number(values.requests),
    bodies: Number(values.bodies),
    seed: Number(values.seed),
    atOnce: Number(values['at-once']),
    nice: values.nice === undefined ? undefined : Number(values.nice),
  };
  console.log(`${cpuName()}, ${availableParallelism()} CPUs, Node ${process.version}`);
  const verdict = new Verdict();
  if (options.requests > 0) await soak(verdict, options);
  if (options.bodies > 0) await fuzzAll(verdict, options);
  verdict.end();
}

void main();
