/** Fuzzed bodies through inject(), which needs no socket. */
import { Random } from '../../lib/bench-serve/random';
import type { Server } from '../../lib/server';
import { fuzzedPost } from './bodies';

export interface FuzzReport {
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** What must not be, with the body that did it. */
  readonly faults: readonly string[];
}

const AT_ONCE = 8;
/** An answer that takes longer is one that never comes. */
const PATIENCE_MS = 60_000;

/** 503 means to, and 501 is what embeddings are answered with. */
export function isAllowed(status: number, path: string): boolean {
  return status < 500 || status === 503 || (status === 501 && path === '/v1/embeddings');
}

function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no answer within ${PATIENCE_MS / 1000} s`));
    }, PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => {
    clearTimeout(timer);
  });
}

async function one(server: Server, seed: number, report: Report): Promise<void> {
  const { path, payload } = fuzzedPost(new Random(seed));
  const fault = (what: string): void => {
    report.faults.push(`${what}: ${path} ${payload.slice(0, 2000)} (seed ${seed})`);
  };
  try {
    const { statusCode, body } = await within(
      server.inject({
        method: 'POST',
        url: path,
        headers: { 'content-type': 'application/json' },
        payload,
      }),
    );
    report.statuses[statusCode] = (report.statuses[statusCode] ?? 0) + 1;
    if (!isAllowed(statusCode, path)) fault(`status ${statusCode}`);
    if (isServersFault(body)) fault('a stream that failed in the server');
    if (statusCode >= 400 && !isError(body)) fault(`status ${statusCode} without an error`);
  } catch (error) {
    fault((error as Error).message);
  }
}

/** Whether a stream ended with what would have been a 500. */
export function isServersFault(body: string): boolean {
  return /"(?:type|code)":"(?:server_error|internal_error|api_error)"/.test(body);
}

function isError(body: string): boolean {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown } };
    return typeof error?.message === 'string' && error.message !== '';
  } catch {
    return false;
  }
}

interface Report {
  statuses: Record<string, number>;
  faults: string[];
}

/**
 * Sends `count` fuzzed bodies, those of seeds `first` and on.
 * @returns what became of them; faults say the seed that repeats them
 */
export async function fuzz(server: Server, first: number, count: number): Promise<FuzzReport> {
  const report: Report = { statuses: {}, faults: [] };
  let next = first;
  const sender = async (): Promise<void> => {
    while (next < first + count) await one(server, next++, report);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sender));
  return report;
}
