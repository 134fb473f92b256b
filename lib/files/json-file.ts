import { readWhole, withFile, type Folder } from './byte-source';
import { Facts } from './facts';
import { isObject, parseJsonObject } from './json';
import { quoted } from './problems';
import { type JsonLimits } from './limits';

/** An object of a JSON file. A key `a.b` is b of the object a. */
export class JsonFacts extends Facts {
  constructor(
    path: string,
    readonly object: Readonly<Record<string, unknown>>,
  ) {
    super(path);
  }

  override raw(key: string): unknown {
    let value: unknown = this.object;
    let place = '';
    for (const part of key.split('.')) {
      if (value === null) return undefined;
      if (!isObject(value)) throw this.invalid(place, `is ${quoted(value)}, not an object`);
      if (!Object.hasOwn(value, part)) return undefined;
      value = value[part];
      place += place === '' ? part : `.${part}`;
    }
    return value;
  }
}

/** Reads a JSON file of a folder, which must hold one object. */
export async function readJson(
  folder: Folder,
  name: string,
  limits: JsonLimits,
): Promise<JsonFacts> {
  return withFile(folder, name, async (source) => {
    const file = { path: source.path, bytes: await readWhole(source, limits.bytes) };
    return new JsonFacts(source.path, parseJsonObject(file, limits));
  });
}
