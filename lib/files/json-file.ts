import { isUtf8 } from 'node:buffer';
import { readWhole, withFile, type Folder } from './byte-source';
import { Facts } from './facts';
import { invalid } from './problems';

/** Of a JSON file or a safetensors header, in bytes. */
export const MAX_JSON = 100_000_000;

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
    for (const part of key.split('.')) {
      if (!isObject(value) || !Object.hasOwn(value, part)) return undefined;
      value = value[part];
    }
    return value;
  }
}

/** Reads a JSON file of a folder, which must hold one object. */
export async function readJson(folder: Folder, name: string): Promise<JsonFacts> {
  return withFile(folder, name, async (source) => {
    return new JsonFacts(source.path, parseObject(source.path, await readWhole(source, MAX_JSON)));
  });
}

/** Parses an object; `at` is where it starts in the file. */
export function parseObject(path: string, bytes: Buffer, at = 0): Record<string, unknown> {
  if (!isUtf8(bytes)) throw invalid(path, 'not UTF-8', at);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid(path, `not JSON: ${(error as SyntaxError).message.slice(0, 200)}`, at);
  }
  if (!isObject(value)) throw invalid(path, 'not a JSON object', at);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * The keys of the outermost object of valid JSON, in order and with repetitions, which JSON.parse
 * hides, and where each starts: `{"a": {"b": 1}, "a": 2}` gives a at 1 and a at 15.
 */
export function* outerKeys(bytes: Buffer): Generator<{ key: string; at: number }> {
  let depth = 0;
  let isKey = false;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case 0x7b: // {
      case 0x5b: // [
        depth++;
        isKey = depth === 1;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth--;
        break;
      case 0x2c: // ,
        isKey = depth === 1;
        break;
      case QUOTE: {
        const start = i;
        for (i++; bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
        if (isKey) {
          isKey = false;
          yield { key: JSON.parse(bytes.toString('utf8', start, i + 1)) as string, at: start };
        }
        break;
      }
    }
  }
}
