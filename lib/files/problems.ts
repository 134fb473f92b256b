import { TramontaneError } from '../errors';

/** An INVALID_FILE error. `at` is the byte offset of what is wrong. */
export function invalid(path: string, problem: string, at?: number): TramontaneError {
  return new TramontaneError('INVALID_FILE', describe(path, problem, at));
}

/** An UNSUPPORTED_FILE error; `problem` says what was found and what is supported. */
export function unsupported(path: string, problem: string, at?: number): TramontaneError {
  return new TramontaneError('UNSUPPORTED_FILE', describe(path, problem, at));
}

function describe(path: string, problem: string, at?: number): string {
  // Keys of a file stand in messages; they may hold anything, and be long.
  const short = problem.length <= MAX_PROBLEM ? problem : `${problem.slice(0, MAX_PROBLEM)}...`;
  const line = short.replace(/\p{Cc}/gu, '?');
  return at === undefined ? `${path}: ${line}` : `${path}: ${line} (at byte ${at})`;
}

const MAX_PROBLEM = 600;

/** A name or value from a file, fit to stand in a one-line message however long or deep it is. */
export function quoted(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length <= 120 ? value : `${value.slice(0, 117)}...`);
  }
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
