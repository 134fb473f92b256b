/** Keys of clients: kept as hashes, compared in constant time, never shown. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { TramontaneError } from '../errors';

interface Entry {
  readonly name: string;
  readonly hash: Buffer;
}

const LEAST_CHARACTERS = 8;

function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/**
 * The keys that are let in, each with a name for limits and logs.
 * @param lines `key`, or `name:key`; empty ones and those that begin with # are passed over
 */
export class Keys {
  readonly #entries: readonly Entry[];

  constructor(lines: readonly string[]) {
    const used = lines
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
    this.#entries = used.map((line, index) => {
      const colon = line.indexOf(':');
      const key = line.slice(colon + 1).trim();
      if (key.length < LEAST_CHARACTERS || /[^!-~]/.test(key)) {
        throw new TramontaneError(
          'INVALID_OPTION',
          `API key ${index + 1} must have at least ${LEAST_CHARACTERS} printable ASCII characters, without spaces`,
        );
      }
      return {
        name: colon > 0 ? line.slice(0, colon).trim() : `key${index + 1}`,
        hash: hashOf(key),
      };
    });
  }

  get count(): number {
    return this.#entries.length;
  }

  /** The name of the key that a request brings; all keys are compared, whichever it is. */
  nameOf(key: string): string | undefined {
    const hash = hashOf(key);
    let found: string | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.hash, hash)) found = entry.name;
    }
    return found;
  }
}

/**
 * The lines of a file of keys.
 * @throws TramontaneError FILE_NOT_READABLE; INVALID_OPTION when it has none
 */
export function linesOfKeys(path: string): readonly string[] {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    const { message } = error as Error;
    throw new TramontaneError('FILE_NOT_READABLE', `the file of API keys: ${message}`);
  }
  const lines = content.split('\n');
  if (new Keys(lines).count > 0) return lines;
  throw new TramontaneError('INVALID_OPTION', `${path} has no API keys: one a line, or name:key`);
}

/** The key in a request's headers: OpenAI's, or Anthropic's. */
export function keyIn(headers: Readonly<Record<string, unknown>>): string | undefined {
  const { authorization, 'x-api-key': own } = headers;
  if (typeof own === 'string') return own;
  if (typeof authorization !== 'string') return undefined;
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
}
