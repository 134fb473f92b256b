/** The prompts of a run: random ones of a given length, or those of a file. */
import { readFileSync } from 'node:fs';
import { TramontaneError } from '../errors';
import type { Client, Prompt } from './client';
import type { Random } from './random';

export interface RandomPrompts {
  /** Tokens of a prompt, on top of those of its prefix. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly prefixTokens: number;
  /** How many different prefixes there are; prompts take them in turn. */
  readonly prefixes: number;
}

/** How many prompts are counted at the same time. */
const COUNTED_AT_ONCE = 8;

/** Tries to get a prompt's length right: a word may be two tokens, so that one can be left over. */
const FITTINGS = 12;

/**
 * Prompts of random words, as long as the server's tokenizer says, or of one word a token where it
 * cannot be asked. Each draws on, so that no two runs have the same.
 */
export class RandomWorkload {
  private prefixes: string[][] | undefined;

  constructor(
    private readonly client: Client,
    private readonly sizes: RandomPrompts,
    private readonly random: Random,
    /** Whether the server counts tokens. */
    private readonly counts: boolean,
    private readonly signal: AbortSignal,
  ) {}

  async prompts(count: number, onProgress?: (fraction: number) => void): Promise<Prompt[]> {
    const { inputTokens, outputTokens, prefixTokens, prefixes } = this.sizes;
    this.prefixes ??= await Promise.all(
      Array.from({ length: prefixTokens > 0 ? prefixes : 0 }, () => this.fit([], prefixTokens)),
    );
    const made: Prompt[] = [];
    for (let first = 0; first < count; first += COUNTED_AT_ONCE) {
      onProgress?.(first / count);
      const some = Array.from({ length: Math.min(COUNTED_AT_ONCE, count - first) }, (_, index) => {
        const prefix = this.prefixes![(first + index) % prefixes] ?? [];
        return this.fit(prefix, prefixTokens + inputTokens);
      });
      for (const words of await Promise.all(some)) {
        const tokens = prefixTokens + inputTokens;
        made.push({ input: words.join(' '), tokens, outputTokens });
      }
    }
    return made;
  }

  /** Words that begin with the prefix's and are that many tokens, or as near as it could be had. */
  private async fit(prefix: readonly string[], tokens: number): Promise<string[]> {
    // Drawn before anything is waited for: a seed gives the same words whoever answers first.
    const drawn = Array.from({ length: tokens + FITTINGS }, () => this.random.choose(WORDS));
    const words = [...prefix];
    let used = 0;
    const more = (count: number) => {
      for (let index = 0; index < count; ++index) words.push(drawn[used++ % drawn.length]!);
    };
    more(tokens - prefix.length);
    for (let fitting = 0; this.counts && fitting < FITTINGS; ++fitting) {
      const { count, context } = await this.client.countTokens(words.join(' '), this.signal);
      if (context !== undefined) this.check(context);
      if (count === tokens) break;
      const tokensAWord = count / words.length;
      const change = Math.max(1, Math.round(Math.abs(count - tokens) / tokensAWord));
      if (count < tokens) more(change);
      else words.length = Math.max(words.length - change, prefix.length, 1);
    }
    return words;
  }

  private check(context: number): void {
    const { prefixTokens, inputTokens, outputTokens } = this.sizes;
    if (prefixTokens + inputTokens + outputTokens <= context) return;
    throw new TramontaneError(
      'INVALID_OPTION',
      `prompts of ${prefixTokens + inputTokens} tokens and outputs of ${outputTokens} are more ` +
        `than the server's context of ${context}: see --random-input-len, --random-prefix-len ` +
        'and --random-output-len',
    );
  }
}

/**
 * The prompts of a file: one a line, or one JSON object a line with `prompt` or `messages`, and
 * `output_tokens` if that prompt's output shall be of another length.
 */
export function readPrompts(path: string, outputTokens: number): Prompt[] {
  const lines = read(path)
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trim(), place: `${path}, line ${index + 1}` }))
    .filter(({ line }) => line !== '');
  if (lines.length === 0) throw new TramontaneError('INVALID_FILE', `${path}: no prompt in it`);
  const isJson = lines[0]!.line.startsWith('{');
  return lines.map(({ line, place }) =>
    isJson ? readObject(line, place, outputTokens) : { input: line, outputTokens },
  );
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { message } = error as Error;
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: ${message}`, { cause: error });
  }
}

function readObject(line: string, place: string, outputTokens: number): Prompt {
  let object: Record<string, unknown>;
  try {
    object = JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    throw new TramontaneError('INVALID_FILE', `${place}: no JSON object`, { cause: error });
  }
  const { prompt, messages, output_tokens: own = outputTokens } = object;
  if (typeof own !== 'number' || !Number.isSafeInteger(own) || own < 1) {
    throw new TramontaneError('INVALID_FILE', `${place}: output_tokens must be a count`);
  }
  if (typeof prompt === 'string') return { input: prompt, outputTokens: own };
  if (Array.isArray(messages)) return { input: messages as object[], outputTokens: own };
  throw new TramontaneError(
    'INVALID_FILE',
    `${place}: neither prompt, a text, nor messages, a list`,
  );
}

/** Plain words, which with the space before them are one token of most vocabularies. */
const WORDS = (
  'the of and to in is was for on that with as it at by from his her they are be this had not ' +
  'but have which one you were all their she who would there when if so no out up into has more ' +
  'about can time will some them than then two like over now only could my made after these man ' +
  'did many before must through back years where much your way well down should because long ' +
  'each just those people too little good very make world still own see men work life without ' +
  'another day great house place part home water old small right hand high school night light ' +
  'door room white face head side name story tree bird river road hill stone garden king child ' +
  'mother father friend dog cat fish ball box book song game car boat train ship sun moon star ' +
  'rain snow wind fire grass flower blue red green black big happy sad new young best first last ' +
  'next open close run walk play jump look find help want need think know say tell ask give take ' +
  'put come go stop start end turn keep let try use show feel hear hold move live love sleep eat ' +
  'drink read write sing dance talk laugh smile cry wait call bring'
).split(' ');
