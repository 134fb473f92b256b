/** Checks of what callers pass: every error names the option and what it may be. */
import { TramontaneError } from '../errors';

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

export function invalidOption(name: string, expected: string, value: unknown): TramontaneError {
  return new TramontaneError(
    'INVALID_OPTION',
    `${name} must be ${expected}, but is ${describe(value)}`,
  );
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

export function signal(name: string, value: unknown): AbortSignal {
  // By shape: a signal may come from another realm.
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function') {
    throw invalidOption(name, 'an AbortSignal', value);
  }
  return value as AbortSignal;
}

/** Token ids of a vocabulary. */
export function tokenIds(name: string, value: unknown, vocabularySize: number): Int32Array {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
    throw invalidOption(name, 'an array of token ids', value);
  }
  const ids = Int32Array.from(value as ArrayLike<number>);
  ids.forEach((id, index) => {
    const given: unknown = (value as ArrayLike<unknown>)[index];
    if (id !== given || id < 0 || id >= vocabularySize) {
      throw invalidOption(
        `${name}[${String(index)}]`,
        `a token id from 0 to ${String(vocabularySize - 1)}`,
        given,
      );
    }
  });
  return ids;
}
