/**
 * The server of a soak, in a process of its own, so that the event loop that is watched is the
 * server's alone. It answers messages of its parent; needs --expose-gc.
 */
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { getHeapCodeStatistics } from 'node:v8';
import type { AddressInfo } from 'node:net';
import { Model } from '../../lib';
import { createServer, type Server, type ServerOptions } from '../../lib/server';
import { fuzz, type FuzzReport } from './fuzz';

export interface Setup {
  readonly model: string;
  readonly maxRunning: number;
  /** Of the thread of the event loop, as `nice` has it; the threads that compute keep theirs. */
  readonly nice: number | undefined;
  readonly options: ServerOptions;
}

export type Order =
  | { readonly kind: 'settle' }
  | { readonly kind: 'fuzz'; readonly first: number; readonly count: number };

/** What is left when everybody has gone. */
export interface Settled {
  /** Until nothing ran, waited, or held a page; undefined: not within ten seconds. */
  readonly idleMs: number | undefined;
  readonly gauges: Readonly<Record<string, number>>;
  /** Requests that were ended before their answer was, since the server began. */
  readonly aborted: number;
  /** What the process was warned of: such as of listeners that pile up. */
  readonly warnings: readonly string[];
  readonly rssBytes: number;
  /** Without what the engine of JavaScript compiles, for as long as it sees ways to do better. */
  readonly heapBytes: number;
  readonly codeBytes: number;
  /** Of the event loop since the last time, collections that were asked for left out. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The server's time on a processor since it began. */
  readonly cpuMs: number;
}

const loop = monitorEventLoopDelay({ resolution: 1 });

const warnings: string[] = [];

/** The gauges as whoever scrapes them sees them. */
async function gaugesOf(server: Server): Promise<Record<string, number>> {
  const { body } = await server.inject({ url: '/metrics' });
  const found = body.matchAll(
    /^tramontane_(num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{.*\} (.+)$/gm,
  );
  return Object.fromEntries([...found].map(([, name, value]) => [name!, Number(value)]));
}

async function abortedOf(server: Server): Promise<number> {
  const { body } = await server.inject({ url: '/metrics' });
  return Number(/^tramontane_request_aborted_total\{.*\} (.+)$/m.exec(body)?.[1] ?? 0);
}

async function settle(server: Server, connections: () => Promise<number>): Promise<Settled> {
  const start = performance.now();
  let gauges = await gaugesOf(server);
  let idleMs: number | undefined;
  while (performance.now() - start < 10_000) {
    if (Object.values(gauges).every((value) => value === 0)) {
      idleMs = performance.now() - start;
      break;
    }
    await delay(10);
    gauges = await gaugesOf(server);
  }
  loop.disable();
  const [p50Ms, p99Ms, maxMs] = [loop.percentile(50), loop.percentile(99), loop.max].map(
    (nanoseconds) => nanoseconds / 1e6,
  );
  // Twice: what finalizers let go of is collected the second time.
  for (let i = 0; i < 2; ++i) {
    gc!();
    await delay(50);
  }
  const { rss: rssBytes, heapUsed } = process.memoryUsage();
  const code = getHeapCodeStatistics();
  const codeBytes = code.code_and_metadata_size + code.bytecode_and_metadata_size;
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1000;
  gauges['connections'] = await connections();
  loop.reset();
  loop.enable();
  return {
    idleMs,
    gauges,
    aborted: await abortedOf(server),
    warnings,
    rssBytes,
    heapBytes: heapUsed - codeBytes,
    codeBytes,
    p50Ms: p50Ms!,
    p99Ms: p99Ms!,
    maxMs: maxMs!,
    cpuMs,
  };
}

async function serve({ model: path, maxRunning, nice, options }: Setup): Promise<void> {
  const model = await Model.load(join(__dirname, '../..', path), { maxRunning });
  const server = createServer({ breeze: model }, options);
  await server.listen({ port: 0 });
  const connections = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.server.getConnections((error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  const obey = async (order: Order): Promise<Settled | FuzzReport> =>
    order.kind === 'settle' ? settle(server, connections) : fuzz(server, order.first, order.count);
  process.on('message', (order: Order) => {
    void obey(order).then((answer) => process.send!(answer));
  });
  process.on('disconnect', () => process.exit());
  process.on('warning', ({ message }) => warnings.push(message));
  if (nice !== undefined) setPriority(0, nice);
  loop.enable();
  process.send!((server.server.address() as AddressInfo).port);
}

if (process.send) {
  process.once('message', (setup: Setup) => {
    void serve(setup);
  });
}
