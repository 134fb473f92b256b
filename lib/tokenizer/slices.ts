/** Long work on JavaScript's thread, done in slices, between which the event loop goes on. */

/** Work that can be interrupted at each `yield`, which comes after a millisecond or less. */
export type Steps = Generator<undefined, void, undefined>;

/**
 * Of a loop's rounds, how many there are between two places to interrupt it: a few tenths of a
 * millisecond, up to a whole one where every round misses the cache.
 */
export const STEPS = 2048;

/** Runs work to its end at once. */
export function runAtOnce(steps: Steps): void {
  while (steps.next().done !== true);
}

/** How long a slice takes. Timers and sockets wait so long, and for what one step is over it. */
const SLICE_MS = 3;

interface Work {
  readonly steps: Steps;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Works in turn: one slice of one of them a turn of the event loop, however many there are. */
const waiting: Work[] = [];

/** Runs work to its end beside the event loop; rejects with what it throws. */
export function runInSlices(steps: Steps): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.push({ steps, resolve, reject });
    if (waiting.length === 1) setImmediate(runSlice);
  });
}

function runSlice(): void {
  const work = waiting.shift()!;
  const end = performance.now() + SLICE_MS;
  try {
    let isDone: boolean;
    do isDone = work.steps.next().done === true;
    while (!isDone && performance.now() < end);
    if (isDone) work.resolve();
    else waiting.push(work);
  } catch (error) {
    work.reject(error);
  }
  if (waiting.length > 0) setImmediate(runSlice);
}
