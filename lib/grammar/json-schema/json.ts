import { GrammarError } from '../../errors';

/** A JSON value whose objects are maps: no key of theirs, `__proto__` neither, means anything. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = ReadonlyMap<string, Json>;

export const MOST_CHARACTERS = 1 << 20;
export const MOST_LEVELS = 128;

/**
 * A copy of what is JSON in `value`. Nothing of the caller's is read again, and `pointers` says
 * where each object and list of the copy lay.
 * @throws GrammarError where it is no JSON, too deep or too long
 */
export function copyJson(value: unknown, pointers: Map<object, string>): Json {
  let left = MOST_CHARACTERS;
  const take = (characters: number, pointer: string): void => {
    left -= characters;
    if (left < 0)
      throw new GrammarError(`The schema is longer than ${MOST_CHARACTERS} characters.`, {
        pointer,
        keyword: '',
      });
  };
  const copy = (from: unknown, pointer: string, level: number): Json => {
    take(4, pointer);
    if (from === null || typeof from === 'boolean') return from;
    if (typeof from === 'number' && Number.isFinite(from)) return from;
    if (typeof from === 'string') {
      take(from.length, pointer);
      return from;
    }
    if (typeof from !== 'object') throw notJson(from, pointer);
    if (level === MOST_LEVELS)
      throw new GrammarError(`The schema is more than ${MOST_LEVELS} levels deep.`, {
        pointer,
        keyword: '',
      });
    if (Array.isArray(from)) {
      take(from.length, pointer);
      const list = from.map((item, i) => copy(item, `${pointer}/${i}`, level + 1));
      pointers.set(list, pointer);
      return list;
    }
    const object = new Map<string, Json>();
    pointers.set(object, pointer);
    for (const key of Object.keys(from)) {
      const item = (from as Record<string, unknown>)[key];
      take(key.length, pointer);
      // As JSON.stringify has it.
      if (item !== undefined && typeof item !== 'function') {
        object.set(key, copy(item, `${pointer}/${escapePointer(key)}`, level + 1));
      }
    }
    return object;
  };
  return copy(value, '', 0);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

export function unescapePointer(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** The same for values that are equal as JSON Schema says: 1 and 1.0 are, objects in any order. */
export function canonical(value: Json): string {
  if (isList(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(Object.is(value, -0) ? 0 : value);
  const members = [...value].map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`);
  return `{${members.sort().join(',')}}`;
}

function notJson(value: unknown, pointer: string): GrammarError {
  const what = typeof value === 'number' ? String(value) : `a ${typeof value}`;
  return new GrammarError(`The schema has ${what} at "${pointer}", which is no JSON.`, {
    pointer,
    keyword: pointer.slice(pointer.lastIndexOf('/') + 1),
  });
}
