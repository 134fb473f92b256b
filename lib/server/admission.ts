/** Who may run, who waits, and who is told to come back: fair between keys. */
import { ApiError } from './protocol/errors';

export interface AdmissionLimits {
  /** Generations at once. */
  readonly slots: number;
  /** Generations that may wait for a slot. */
  readonly maxQueuedRequests: number;
  /** Prompt tokens, about, of those that wait. */
  readonly maxQueuedTokens: number;
  /** Generations of one key that run or wait. */
  readonly maxPerKey: number;
  /** Tokens of prompts and answers of one key in a minute. */
  readonly tokensPerMinute: number;
  /** Whether there are several keys, so that none may take the last slot beside its own others. */
  readonly hasKeys: boolean;
}

/** A slot that was taken; `end` gives it back. */
export interface Ticket {
  end(): void;
}

interface Waiting {
  readonly tokens: number;
  readonly start: (ticket: Ticket) => void;
}

interface KeyState {
  running: number;
  /** When it last had a turn, in turns; 0: never. */
  turn: number;
  readonly waiting: Waiting[];
  /** Tokens it may use now; below 0, it waits for the minute to go on. */
  allowance: number;
  /** When the allowance was right. */
  at: number;
}

function isBefore(a: KeyState, b: KeyState): boolean {
  return a.running < b.running || (a.running === b.running && a.turn < b.turn);
}

const MINUTE_MS = 60_000;
/** The newest answer's part of the average of service times. */
const NEWEST = 0.1;

/**
 * A free slot goes to the key with the fewest running generations among those that wait, the one
 * whose turn is longest ago where several have as few: a thousand requests of one key delay another
 * key's one by no more than the next slot. Where there are keys, the last slot is kept for one
 * that has none, and a full queue refuses no key that has nothing in it and nothing running.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #keys = new Map<string, KeyState>();
  readonly #now: () => number;
  #running = 0;
  #turns = 0;
  #queued = 0;
  #queuedTokens = 0;
  #serviceMs = 1000;

  constructor(limits: AdmissionLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#queued;
  }

  get queuedTokens(): number {
    return this.#queuedTokens;
  }

  /**
   * Takes a request in, whole or not at all.
   * @param tokens of the prompt of each generation, about
   * @param signal what is aborted while it waits leaves the queue
   * @returns a slot for each, in order
   * @throws ApiError 429
   */
  admit(name: string, tokens: readonly number[], signal: AbortSignal): Promise<Ticket>[] {
    const key = this.#key(name);
    this.#refuse(key, tokens);
    return tokens.map((count) => this.#enter(name, count, signal));
  }

  /**
   * For what is not read yet: refuses it where it would be, however small.
   * @throws ApiError 429
   */
  refuseFull(name: string): void {
    this.#refuse(this.#key(name), [0]);
  }

  /** Counts tokens against the key's minute. */
  charge(name: string, tokens: number): void {
    this.#key(name).allowance -= tokens;
  }

  #refuse(key: KeyState, tokens: readonly number[]): void {
    const { slots, maxQueuedRequests, maxQueuedTokens, maxPerKey, tokensPerMinute, hasKeys } =
      this.#limits;
    const count = tokens.length;
    if (key.running + key.waiting.length + count > maxPerKey) {
      throw this.#busy(`a key may have ${maxPerKey} requests at once`, 'key_concurrency');
    }
    if (key.allowance < 0) {
      const wait = (-key.allowance / tokensPerMinute) * 60;
      const message = `a key may use ${tokensPerMinute} tokens a minute`;
      throw this.#busy(message, 'key_tokens_per_minute', wait);
    }
    // The queue of others is not in its way: there are no more of these than keys.
    if (hasKeys && count === 1 && key.running + key.waiting.length === 0) return;
    const free = Math.max(0, slots - this.#running - this.#queued);
    const queued = this.#queued + Math.max(0, count - free);
    if (queued > maxQueuedRequests && queued > this.#queued) {
      throw this.#busy(`${this.#queued} requests wait already`, 'queue_full');
    }
    const sum = tokens.reduce((a, b) => a + b, 0);
    if (count > free && this.#queued > 0 && this.#queuedTokens + sum > maxQueuedTokens) {
      throw this.#busy(`prompts of ${this.#queuedTokens} tokens wait already`, 'queue_full');
    }
  }

  #busy(why: string, code: string, seconds?: number): ApiError {
    const wait = seconds ?? ((this.#queued + 1) * this.#serviceMs) / this.#limits.slots / 1000;
    const retryAfter = Math.min(60, Math.max(1, Math.ceil(wait)));
    return new ApiError(429, `${why}: try again in ${retryAfter} s`, { code, retryAfter });
  }

  async #enter(name: string, tokens: number, signal: AbortSignal): Promise<Ticket> {
    signal.throwIfAborted();
    const key = this.#key(name);
    return new Promise((resolve, reject) => {
      const leave = () => {
        const place = key.waiting.indexOf(waiting);
        if (place < 0) return;
        key.waiting.splice(place, 1);
        this.#queued -= 1;
        this.#queuedTokens -= tokens;
        reject(signal.reason as Error);
      };
      const waiting: Waiting = {
        tokens,
        start: (ticket) => {
          signal.removeEventListener('abort', leave);
          resolve(ticket);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      key.waiting.push(waiting);
      this.#queued += 1;
      this.#queuedTokens += tokens;
      this.#startNext();
    });
  }

  #startNext(): void {
    const { slots, hasKeys } = this.#limits;
    while (this.#running < slots) {
      const isLast = hasKeys && slots > 1 && this.#running === slots - 1;
      let next: KeyState | undefined;
      for (const key of this.#keys.values()) {
        if (key.waiting.length === 0 || (isLast && key.running > 0)) continue;
        if (next === undefined || isBefore(key, next)) next = key;
      }
      if (next === undefined) return;
      this.#start(next);
    }
  }

  #start(key: KeyState): void {
    const { tokens, start } = key.waiting.shift()!;
    this.#queued -= 1;
    this.#queuedTokens -= tokens;
    this.#running += 1;
    key.running += 1;
    key.turn = ++this.#turns;
    const startedAt = this.#now();
    let ended = false;
    start({
      end: () => {
        if (ended) return;
        ended = true;
        this.#running -= 1;
        key.running -= 1;
        this.#serviceMs += NEWEST * (this.#now() - startedAt - this.#serviceMs);
        this.#startNext();
      },
    });
  }

  #key(name: string): KeyState {
    const { tokensPerMinute } = this.#limits;
    const now = this.#now();
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = { running: 0, turn: 0, waiting: [], allowance: tokensPerMinute, at: now };
      this.#keys.set(name, key);
    }
    if (tokensPerMinute !== Infinity) {
      const earned = ((now - key.at) / MINUTE_MS) * tokensPerMinute;
      key.allowance = Math.min(tokensPerMinute, key.allowance + earned);
    }
    key.at = now;
    return key;
  }
}
