/** Sends requests as they arrive, and keeps what became of each. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Answer, Client, Failure, Prompt } from './client';

/** Times are milliseconds, instants those of `performance.now()`. */
export interface Sample extends Answer {
  readonly sentAt: number;
  /** From its arrival until `maxConcurrency` let it be sent. */
  readonly queued: number;
}

export interface Samples {
  readonly completed: readonly Sample[];
  readonly failures: readonly Failure[];
  readonly duration: number;
  readonly interrupted: boolean;
}

export class Load {
  readonly completed: Sample[] = [];
  readonly failures: Failure[] = [];
  running = 0;
  /** Chunks of all requests: about as many as tokens, which are known when a request has ended. */
  chunks = 0;
  readonly startedAt = performance.now();

  constructor(
    private readonly client: Client,
    private readonly maxConcurrency: number,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * @param times when each prompt is due, in seconds from now
   * @returns what was measured, until the signal was aborted if it was
   */
  async run(prompts: readonly Prompt[], times: readonly number[]): Promise<Samples> {
    const { completed, failures, signal, startedAt } = this;
    const gate = new Gate(this.maxConcurrency);
    const requests: Promise<void>[] = [];
    for (const [index, prompt] of prompts.entries()) {
      const delay = startedAt + times[index]! * 1000 - performance.now();
      if (delay > 0) await wait(delay, undefined, { signal }).catch(ignoreAbort(signal));
      if (signal.aborted) break;
      requests.push(this.request(prompt, gate));
    }
    await Promise.all(requests);
    const duration = performance.now() - startedAt;
    return { completed, failures, duration, interrupted: signal.aborted };
  }

  private async request(prompt: Prompt, gate: Gate): Promise<void> {
    const arrived = performance.now();
    await gate.enter();
    try {
      if (this.signal.aborted) return;
      ++this.running;
      const sentAt = performance.now();
      const result = await this.client.generate(prompt, this.signal, () => ++this.chunks);
      if ('kind' in result) this.failures.push(result);
      else this.completed.push({ ...result, sentAt, queued: sentAt - arrived });
      --this.running;
    } catch (error) {
      // What an interruption ended has neither completed nor failed.
      ignoreAbort(this.signal)(error);
    } finally {
      gate.leave();
    }
  }
}

function ignoreAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}

/** Lets in so many at the same time, in order. */
class Gate {
  private readonly waiting: (() => void)[] = [];

  constructor(private places: number) {}

  async enter(): Promise<void> {
    if (this.places > 0) --this.places;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  leave(): void {
    const next = this.waiting.shift();
    if (next === undefined) ++this.places;
    else next();
  }
}
