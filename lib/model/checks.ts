/**
 * Checks of what callers pass: every error names the option and what it may be. An option that is
 * undefined counts as absent; null is a value, and no option's.
 */
import { TramontaneError, type TramontaneErrorCode } from '../errors';
import { isTokenIds } from '../tokenizer/token-ids';

/** Characters of a value that a message shows. */
const MOST_SHOWN = 60;

/** A value in a few words, for messages. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string': {
      const shown = value.length > MOST_SHOWN ? `${value.slice(0, MOST_SHOWN)}...` : value;
      return JSON.stringify(shown);
    }
    case 'bigint':
      return 'a BigInt';
    case 'function':
      return 'a function';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'an array' : 'an object';
    default:
      return String(value);
  }
}

export function invalidOption(name: string, expected: string, value: unknown): TramontaneError {
  return invalid('INVALID_OPTION', name, expected, value);
}

function invalid(
  code: TramontaneErrorCode,
  name: string,
  expected: string,
  value: unknown,
): TramontaneError {
  return new TramontaneError(code, `${name} must be ${expected}, but is ${describe(value)}`);
}

/** Unknown names are errors, so that a misspelt option is not silently ignored. */
export function checkNames(of: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption(`the options of ${of}`, 'an object', options);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TramontaneError(
        'INVALID_OPTION',
        `${of} has no option ${name}; it has ${known.join(', ')}`,
      );
    }
  }
}

export function integer(name: string, value: unknown, least: number, most: number): number {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    throw invalidOption(name, `an integer from ${String(least)} to ${String(most)}`, value);
  }
  return value as number;
}

/** A number in [least, most]. */
export function number(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw invalidOption(name, `a number from ${String(least)} to ${String(most)}`, value);
  }
  return value;
}

export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  if (!choices.includes(value as T)) throw invalidOption(name, choices.join(' or '), value);
  return value as T;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalidOption(name, 'true or false', value);
  return value;
}

const SIGNAL_METHODS = ['addEventListener', 'removeEventListener', 'throwIfAborted'] as const;

export function signal(name: string, value: unknown): AbortSignal {
  // By shape: a signal may come from another realm.
  const shape = Object(value) as Partial<AbortSignal>;
  if (
    typeof shape.aborted !== 'boolean' ||
    SIGNAL_METHODS.some((method) => typeof shape[method] !== 'function')
  ) {
    throw invalidOption(name, 'an AbortSignal', value);
  }
  return value as AbortSignal;
}

/** What a list of whole numbers, 0 and up, may be. */
export interface ListRules {
  /** What one of them is: `token id`. */
  readonly what: string;
  readonly largest: number;
  /** @default 2^24 */
  readonly mostElements?: number;
  /** @default INVALID_OPTION */
  readonly code?: TramontaneErrorCode;
}

/** A copy of a list of whole numbers. Each element is read once, so that what was checked is used. */
export function list(name: string, value: unknown, rules: ListRules): Int32Array {
  const { what, largest, mostElements = 2 ** 24, code = 'INVALID_OPTION' } = rules;
  if (!isTokenIds(value)) throw invalid(code, name, `an array of ${what}s`, value);
  if (value.length > mostElements) {
    const message = `${name} has ${value.length} elements, more than the ${mostElements} it may have`;
    throw new TramontaneError(code, message);
  }
  const copy = new Int32Array(value.length);
  for (let index = 0; index < copy.length; index++) {
    const element = value[index];
    if (!Number.isInteger(element) || (element as number) < 0 || (element as number) > largest) {
      throw invalid(code, `${name}[${index}]`, `a ${what} from 0 to ${largest}`, element);
    }
    copy[index] = element as number;
  }
  return copy;
}

/** Token ids of a vocabulary. */
export function tokenIds(name: string, value: unknown, vocabularySize: number): Int32Array {
  return list(name, value, { what: 'token id', largest: vocabularySize - 1 });
}
