import type { TramontaneError } from '../errors';
import { invalid, quoted, unsupported } from './problems';

/** A value that was stepped over, since nobody asks for one of this kind by its key. */
export class Unread {
  constructor(readonly kind: 'a list' | 'a string') {}
}

/**
 * The named values of a header or a configuration file, each checked where it is asked for. A value
 * of the wrong kind is an INVALID_FILE error that names file, key and offset, whatever the key: what
 * a file says is never taken for absent because it was not understood. So is a value out of range,
 * but for the ids of tokens ({@link Facts.tokenId}). docs/files.md lists the keys a file must have.
 */
export abstract class Facts {
  constructor(readonly path: string) {}

  /** The raw value; undefined when there is none. */
  abstract raw(key: string): unknown;

  /** The byte a value starts at, where that is known. */
  protected at(_key: string): number | undefined {
    return undefined;
  }

  /** What messages call a key. */
  protected nameOf(key: string): string {
    return key;
  }

  /** An integer of `min` to `max`; undefined when there is none. */
  integer(key: string, min: number, max: number): number | undefined {
    return this.check(key, `an integer from ${min} to ${max}`, (value): value is number => {
      return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
    });
  }

  /** A number of `min` to `max`. */
  real(key: string, min: number, max: number): number | undefined {
    return this.check(key, `a number from ${min} to ${max}`, (value): value is number => {
      return typeof value === 'number' && value >= min && value <= max;
    });
  }

  /**
   * The id of one of `count` tokens. Any other number counts as absent: writers put -1, 2^32 - 1 or
   * the id of a token that a larger vocabulary has where there is no such token.
   */
  tokenId(key: string, count: number): number | undefined {
    const id = this.check(key, 'the id of a token', (value): value is number => {
      return Number.isInteger(value);
    });
    return id !== undefined && id >= 0 && id < count ? id : undefined;
  }

  string(key: string): string | undefined {
    return this.check(key, 'a string', (value): value is string => typeof value === 'string');
  }

  boolean(key: string): boolean | undefined {
    return this.check(key, 'true or false', (value): value is boolean => {
      return typeof value === 'boolean';
    });
  }

  /** The value, which must be there. */
  required<T>(key: string, value: T | undefined): T {
    if (value === undefined) throw invalid(this.path, `${this.nameOf(key)} is missing`);
    return value;
  }

  invalid(key: string, problem: string): TramontaneError {
    return invalid(this.path, `${this.nameOf(key)} ${problem}`, this.at(key));
  }

  unsupported(key: string, problem: string): TramontaneError {
    return unsupported(this.path, `${this.nameOf(key)} ${problem}`, this.at(key));
  }

  private check<T>(
    key: string,
    wanted: string,
    fits: (value: unknown) => value is T,
  ): T | undefined {
    const value = this.raw(key);
    if (value === undefined || value === null) return undefined;
    if (!fits(value)) throw this.invalid(key, `is ${shown(value)}, not ${wanted}`);
    return value;
  }
}

/** A value of a file for a message, however long or deep it is. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  return value instanceof Unread ? value.kind : quoted(value);
}
