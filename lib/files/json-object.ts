import { readWhole, withFile, type Folder } from './byte-source';
import { Facts, shown } from './facts';
import { isObject, parseJsonObject, type JsonFile } from './json';
import type { JsonLimits } from './limits';
import { invalid } from './problems';

/**
 * A JSON object of a file, whose values are checked where they are asked for. A key `a.b` is b of
 * the object a, unless the object has a key of that very name. Where null stands, nothing is there.
 */
export class JsonObject extends Facts {
  /** @param name of the object in its file, such as `model.vocab`; empty for the outermost one */
  constructor(
    path: string,
    readonly values: Readonly<Record<string, unknown>>,
    readonly name = '',
  ) {
    super(path);
  }

  /** @throws TramontaneError INVALID_FILE if it is not a JSON object, or more than the limits allow */
  static parse(file: JsonFile, limits: JsonLimits): JsonObject {
    return new JsonObject(file.path, parseJsonObject(file, limits));
  }

  override raw(key: string): unknown {
    if (Object.hasOwn(this.values, key)) return this.values[key];
    const dot = key.indexOf('.');
    const outer = key.slice(0, dot);
    return dot < 0 ? undefined : this.optional(outer, (inner) => inner.raw(key.slice(dot + 1)));
  }

  /** All keys with their values. */
  entries(): [string, unknown][] {
    return Object.entries(this.values);
  }

  /** Whether the key is missing, or null. */
  lacks(key: string): boolean {
    const value = this.raw(key);
    return value === undefined || value === null;
  }

  object(key: string): JsonObject {
    const value = this.raw(key);
    if (!isObject(value)) throw this.wrong(key, 'an object');
    return new JsonObject(this.path, value, this.nameOf(key));
  }

  /** What `read` makes of the object at a key that may be missing. */
  optional<T>(key: string, read: (value: JsonObject) => T): T | undefined {
    return this.lacks(key) ? undefined : read(this.object(key));
  }

  array(key: string): readonly unknown[] {
    const value = this.raw(key);
    if (!Array.isArray(value)) throw this.wrong(key, 'a list');
    return value;
  }

  objects(key: string): JsonObject[] {
    return this.array(key).map((value, index) => {
      const name = this.nameOf(`${key}[${index}]`);
      if (!isObject(value)) throw invalid(this.path, `${name} is ${shown(value)}, not an object`);
      return new JsonObject(this.path, value, name);
    });
  }

  /** A string that must be there. */
  text(key: string): string {
    return this.required(key, this.string(key));
  }

  /** A whole number from 0 to below `limit`, which must be there. */
  index(key: string, limit: number): number {
    return this.required(key, this.integer(key, 0, limit - 1));
  }

  protected override nameOf(key: string): string {
    return this.name === '' ? key : `${this.name}.${key}`;
  }

  private wrong(key: string, wanted: string): Error {
    return this.invalid(key, `is ${shown(this.raw(key))}, not ${wanted}`);
  }
}

/** Reads a JSON file of a folder, which must hold one object. */
export async function readJson(
  folder: Folder,
  name: string,
  limits: JsonLimits,
): Promise<JsonObject> {
  return withFile(folder, name, async (source) => {
    const bytes = await readWhole(source, limits.bytes);
    return JsonObject.parse({ path: source.path, bytes }, limits);
  });
}
