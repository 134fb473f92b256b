/**
 * What is needed of an AbortSignal, so that the types need neither a browser's library nor Node's.
 * Any AbortSignal is one.
 */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

interface Waiting {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

const signals = new WeakMap<AbortSignalLike, Waiting>();

/**
 * Calls `abort` when the signal is aborted, unless the function it returns was called before. A
 * signal gets one listener however many wait for it: one that ends a whole server may have
 * thousands, of which Node would warn as of a leak.
 */
export function onAbort(signal: AbortSignalLike, abort: () => void): () => void {
  let waiting = signals.get(signal);
  if (waiting === undefined) {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      for (const callback of [...callbacks]) callback();
    };
    waiting = { callbacks, listener };
    signals.set(signal, waiting);
  }
  const { callbacks, listener } = waiting;
  if (callbacks.size === 0) signal.addEventListener('abort', listener);
  callbacks.add(abort);
  return () => {
    if (callbacks.delete(abort) && callbacks.size === 0) {
      signal.removeEventListener('abort', listener);
    }
  };
}
