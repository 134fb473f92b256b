/**
 * JSON of files nobody vouches for is counted before it is parsed: an object of fifty bytes is made
 * of the three bytes `{},`, so that a file of 95 MB fills a heap of 1 GB, or stops the event loop for
 * a minute.
 */
import { isUtf8 } from 'node:buffer';
import type { JsonLimits } from './limits';
import { invalid } from './problems';
import { notAModel, START_BYTES } from './recognize';

/** A JSON file as it was read. */
export interface JsonFile {
  /** For messages. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Parses JSON, and what Python writes beside it: a byte order mark is passed over, and NaN,
 * Infinity and -Infinity become strings of these names, which no number is taken for.
 * @param at where the bytes start in the file
 * @throws TramontaneError INVALID_FILE when there is more than the limits allow, before anything is
 *   parsed, or when it is no JSON
 */
export function parseJson({ path, bytes }: JsonFile, limits: JsonLimits, at = 0): unknown {
  if (bytes.length > limits.bytes) throw tooMany(path, bytes.length, 'bytes', limits.bytes, at);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const broken = (reason: string): Error => {
    const found = at === 0 ? notAModel(path, buffer.subarray(0, START_BYTES)) : undefined;
    return found ?? invalid(path, reason, at);
  };
  if (!isUtf8(bytes)) throw broken('not UTF-8');
  const words = scan(path, bytes, limits, at);
  try {
    return JSON.parse(withQuoted(buffer, words, hasByteOrderMark(bytes) ? 3 : 0));
  } catch (error) {
    throw broken(`not JSON: ${(error as SyntaxError).message.slice(0, 200)}`);
  }
}

/** Parses JSON that must be an object. */
export function parseJsonObject(
  file: JsonFile,
  limits: JsonLimits,
  at = 0,
): Record<string, unknown> {
  const value = parseJson(file, limits, at);
  if (!isObject(value)) throw invalid(file.path, 'not a JSON object', at);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return BYTE_ORDER_MARK.every((byte, i) => bytes[i] === byte);
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const CAPITAL_I = 0x49;
const CAPITAL_N = 0x4e;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** A word that Python writes for a number JSON has not. */
interface Word {
  readonly start: number;
  readonly end: number;
}

/**
 * Counts depth, values and members of text that need not be JSON, and finds Python's words. Besides
 * the outermost value there is at most one behind every opening bracket and every comma.
 */
function scan(path: string, bytes: Uint8Array, limits: JsonLimits, at: number): Word[] {
  const words: Word[] = [];
  let depth = 0;
  let values = 1;
  let members = 0;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case QUOTE:
        i = endOfString(bytes, i);
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        values++;
        if (++depth > limits.depth) throw tooMany(path, depth, 'levels', limits.depth, at + i);
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--;
        break;
      case COMMA:
        values++;
        break;
      case COLON:
        members++;
        break;
      case CAPITAL_I:
      case CAPITAL_N: {
        const word = wordAt(bytes, i);
        if (word === undefined) break;
        words.push(word);
        i = word.end - 1;
        break;
      }
    }
    const most = Math.max(values, words.length);
    if (most > limits.values) throw tooMany(path, most, 'values', limits.values, at + i);
    if (members > limits.members) throw tooMany(path, members, 'keys', limits.members, at + i);
  }
  return words;
}

/** The place of the quote that ends the string which begins at `start`, or the end of the text. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start + 1;
  while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i;
}

const PYTHON_WORDS = ['NaN', 'Infinity'];
const MINUS = 0x2d;

function wordAt(bytes: Uint8Array, start: number): Word | undefined {
  for (const word of PYTHON_WORDS) {
    const end = start + word.length;
    if (String.fromCharCode(...bytes.subarray(start, end)) !== word) continue;
    return { start: bytes[start - 1] === MINUS ? start - 1 : start, end };
  }
  return undefined;
}

/** The text from `start` on, with quotes around the words: `[NaN]` becomes `["NaN"]`. */
function withQuoted(bytes: Buffer, words: readonly Word[], start: number): string {
  const parts: string[] = [];
  let from = start;
  for (const word of words) {
    parts.push(bytes.toString('utf8', from, word.start));
    parts.push(`"${bytes.toString('latin1', word.start, word.end)}"`);
    from = word.end;
  }
  parts.push(bytes.toString('utf8', from));
  return parts.join('');
}

/**
 * The keys of the outermost object of valid JSON, in order and with repetitions, which JSON.parse
 * hides, and where each starts: `{"a": {"b": 1}, "a": 2}` gives a at 1 and a at 15.
 */
export function* outerKeys(bytes: Uint8Array): Generator<{ key: string; at: number }> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let depth = 0;
  let isKey = false;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case OPEN_LIST:
      case OPEN_OBJECT:
        depth++;
        isKey = depth === 1;
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--;
        break;
      case COMMA:
        isKey = depth === 1;
        break;
      case QUOTE: {
        const start = i;
        i = endOfString(bytes, start);
        if (isKey) {
          isKey = false;
          yield { key: JSON.parse(text.toString('utf8', start, i + 1)) as string, at: start };
        }
        break;
      }
    }
  }
}

function tooMany(path: string, found: number, what: string, limit: number, at: number): Error {
  return invalid(path, `${found} ${what} of JSON, and such a file has at most ${limit}`, at);
}
