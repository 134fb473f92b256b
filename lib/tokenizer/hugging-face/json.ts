import { parseJsonObject, type JsonFile } from '../../files/json';
import { type JsonLimits } from '../../files/limits';
import { invalid, quoted } from '../../files/problems';

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value for a message. Objects and arrays are not written out: they may be huge or deep. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'an array';
  return isRecord(value) ? 'an object' : quoted(value);
}

/**
 * A JSON object of a file, whose values are checked where they are asked for. Wrong ones are
 * INVALID_FILE errors with the path of keys, such as `model.vocab`.
 */
export class JsonObject {
  private constructor(
    readonly path: string,
    /** Keys from the file's outermost object to this one, joined by dots; empty for that one. */
    readonly name: string,
    private readonly values: Record<string, unknown>,
  ) {}

  /** @throws TramontaneError INVALID_FILE if it is not a JSON object, or more than the limits allow */
  static parse(file: JsonFile, limits: JsonLimits): JsonObject {
    return new JsonObject(file.path, '', parseJsonObject(file, limits));
  }

  raw(key: string): unknown {
    return Object.hasOwn(this.values, key) ? this.values[key] : undefined;
  }

  /** All keys with their values. */
  entries(): [string, unknown][] {
    return Object.entries(this.values);
  }

  /** Whether the key is missing, or null as most libraries write what is not there. */
  lacks(key: string): boolean {
    return this.raw(key) === undefined || this.raw(key) === null;
  }

  object(key: string): JsonObject {
    const value = this.raw(key);
    if (!isRecord(value)) throw this.wrong(key, 'an object');
    return new JsonObject(this.path, this.nameOf(key), value);
  }

  /** What `read` makes of the object at a key that may be missing. */
  optional<T>(key: string, read: (value: JsonObject) => T): T | undefined {
    return this.lacks(key) ? undefined : read(this.object(key));
  }

  array(key: string): readonly unknown[] {
    const value = this.raw(key);
    if (!Array.isArray(value)) throw this.wrong(key, 'an array');
    return value;
  }

  objects(key: string): JsonObject[] {
    return this.array(key).map((value, index) => {
      const name = this.nameOf(`${key}[${index}]`);
      if (!isRecord(value)) throw invalid(this.path, `${name} is ${shown(value)}, not an object`);
      return new JsonObject(this.path, name, value);
    });
  }

  string(key: string): string {
    const value = this.raw(key);
    if (typeof value !== 'string') throw this.wrong(key, 'a string');
    return value;
  }

  /** A whole number from 0 to below `limit`. */
  index(key: string, limit: number): number {
    const value = this.raw(key);
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= limit) {
      throw this.wrong(key, `a number from 0 to ${limit - 1}`);
    }
    return value as number;
  }

  /** @param missing what it is when the key is missing */
  boolean(key: string, missing: boolean): boolean {
    if (this.lacks(key)) return missing;
    const value = this.raw(key);
    if (typeof value !== 'boolean') throw this.wrong(key, 'true or false');
    return value;
  }

  private wrong(key: string, wanted: string): Error {
    return invalid(this.path, `${this.nameOf(key)} is ${shown(this.raw(key))}, not ${wanted}`);
  }

  private nameOf(key: string): string {
    return this.name === '' ? key : `${this.name}.${key}`;
  }
}
