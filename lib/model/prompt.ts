/** Prompts: text or token ids, checked, as ids. */
import { types } from 'node:util';
import { TramontaneError } from '../errors';
import { isTokenIds, type TokenIds } from '../tokenizer/token-ids';
import type { BaseTokenizer } from '../tokenizer/base-tokenizer';
import * as check from './checks';

/** Text, which gets a BOS token if the file says so, or token ids, taken as they are. */
export type Prompt = string | TokenIds;

/** What bounds a prompt. */
export interface PromptLimits {
  readonly tokenizer: BaseTokenizer;
  readonly vocabularySize: number;
  readonly contextSize: number;
}

/** UTF-16 units of a text that are encoded at once, in a few milliseconds. */
const MOST_AT_ONCE = 16384;

/**
 * The ids of a prompt. A long text is refused by its length alone if it cannot fit, and encoded
 * beside the event loop if it may.
 * @throws TramontaneError INVALID_PROMPT; the promise rejects with it, for what encoding alone tells
 */
export function promptIds(prompt: unknown, limits: PromptLimits): Int32Array | Promise<Int32Array> {
  if (prompt === '') throw invalidPrompt('the prompt is empty');
  if (typeof prompt !== 'string') return checkedIds(prompt, limits);
  const { tokenizer } = limits;
  const options = { bos: tokenizer.addBos };
  if (prompt.length < MOST_AT_ONCE) return encodedIds(tokenizer.encode(prompt, options), limits);
  checkLength(tokenizer.fewestTokens(prompt), limits, 'at least ');
  return tokenizer.encodeInSlices(prompt, options).then((ids) => encodedIds(ids, limits));
}

function encodedIds(ids: TokenIds, limits: PromptLimits): Int32Array {
  if (ids.length === 0) throw invalidPrompt('the model has no tokens for any of the prompt');
  return checkedIds(ids, limits);
}

function checkLength(length: number, { contextSize }: PromptLimits, atLeast = ''): void {
  if (length <= contextSize) return;
  throw invalidPrompt(
    `the prompt has ${atLeast}${length} tokens, but the context holds ${contextSize}`,
  );
}

function checkedIds(ids: unknown, limits: PromptLimits): Int32Array {
  const mistake = mistakeIn(ids);
  if (mistake !== undefined) {
    throw invalidPrompt(`the prompt must be a text or an array of token ids, but is ${mistake}`);
  }
  const { length } = ids as ArrayLike<unknown>;
  if (length === 0) throw invalidPrompt('the prompt is empty');
  checkLength(length, limits);
  return check.list('prompt', ids, {
    what: 'token id',
    largest: limits.vocabularySize - 1,
    mostElements: limits.contextSize,
    code: 'INVALID_PROMPT',
  });
}

/** What a prompt that is no list of ids is, and what to do about it. */
function mistakeIn(prompt: unknown): string | undefined {
  if (isTokenIds(prompt)) {
    const first = prompt[0];
    if (typeof first === 'string') return 'an array of texts: call generate() once for each';
    if (typeof first === 'bigint') return 'an array of BigInts: convert them with Number()';
    if (typeof first !== 'object' || first === null) return undefined;
    return 'role' in first
      ? 'an array of chat messages: write them as one text, in the form the model was trained on ' +
          "(inspect(path) has the file's chatTemplate)"
      : 'an array of objects';
  }
  if (Buffer.isBuffer(prompt)) return 'a Buffer: decode it with toString()';
  if (types.isBigInt64Array(prompt) || types.isBigUint64Array(prompt)) {
    return 'an array of BigInts: convert them with Number()';
  }
  return check.describe(prompt);
}

function invalidPrompt(message: string): TramontaneError {
  return new TramontaneError('INVALID_PROMPT', message);
}
