import { TramontaneError } from '../errors';
import {
  fromNative,
  native,
  type NativeDescription,
  type NativeEvent,
  type NativeModel,
} from './native';

/** Who one request's events are for. */
export interface Receiver {
  /** Takes one event. */
  receive(event: NativeEvent): void;
  /** All events that came together were received. */
  deliver(): void;
  /** Ends it, when handling its events went wrong. */
  fail(error: unknown): void;
}

/** A request's way to native. */
export interface Route {
  abort(): void;
  /** So many more of its tokens were taken. */
  acknowledge(tokens: number): void;
  /** Whether somebody waits for it. */
  await(awaited: boolean): void;
}

/**
 * Models that somebody waits for. Native knows its model's requests only weakly, so that a model
 * nobody has any more can be collected; a promise somebody awaits is not nobody.
 */
const awaitedModels = new Set<Requests>();

/** The requests in flight of one model. Whatever goes wrong with one ends it, and no other. */
export class Requests {
  readonly #native: NativeModel;
  readonly #receivers = new Map<number, Receiver>();
  readonly #awaited = new Set<number>();
  #nextId = 1;

  constructor(native: NativeModel) {
    this.#native = native;
  }

  /**
   * Asks native by `submit`, and has what comes of it brought to `receiver`.
   * @throws TramontaneError what native refuses
   */
  start(receiver: Receiver, submit: (native: NativeModel, id: number) => void): Route {
    const id = this.#nextId++;
    try {
      submit(this.#native, id);
    } catch (error) {
      throw fromNative(error);
    }
    this.#receivers.set(id, receiver);
    return {
      abort: () => {
        this.#native.abort(id);
      },
      acknowledge: (tokens) => {
        this.#native.acknowledge(id, tokens);
      },
      await: (awaited) => {
        this.#await(id, awaited);
      },
    };
  }

  /** Native's events, in order, of all requests together. */
  receive(events: readonly NativeEvent[]): void {
    const receivers = new Map<number, Receiver>();
    for (const event of events) {
      const receiver = this.#receivers.get(event.id);
      if (!receiver) continue; // It failed here, and native has yet to hear of it.
      receivers.set(event.id, receiver);
      this.#guard(event.id, receiver, () => {
        if (event.finish !== undefined) this.#forget(event.id);
        receiver.receive(event);
      });
    }
    for (const [id, receiver] of receivers) {
      this.#guard(id, receiver, () => {
        receiver.deliver();
      });
    }
  }

  #guard(id: number, receiver: Receiver, handle: () => void): void {
    try {
      handle();
    } catch (cause) {
      this.#forget(id);
      this.#native.abort(id);
      receiver.fail(
        cause instanceof TramontaneError
          ? cause
          : new TramontaneError(
              'COMPUTE_FAILED',
              `a token could not be handled: ${String(cause)}`,
              {
                cause,
              },
            ),
      );
    }
  }

  #forget(id: number): void {
    this.#receivers.delete(id);
    this.#await(id, false);
  }

  /** While anything is awaited, the process stays alive, and the model in memory. */
  #await(id: number, awaited: boolean): void {
    const before = this.#awaited.size > 0;
    if (awaited) this.#awaited.add(id);
    else this.#awaited.delete(id);
    const after = this.#awaited.size > 0;
    if (before === after) return;
    this.#native.keepAlive(after);
    if (after) awaitedModels.add(this);
    else awaitedModels.delete(this);
  }
}

/**
 * Loads a model in native.
 * @throws TramontaneError
 */
export async function loadNative(
  description: NativeDescription,
  onProgress: (fraction: number) => void,
): Promise<{ native: NativeModel; requests: Requests }> {
  // What onProgress throws passes through as it is.
  let thrown: { readonly value: unknown } | undefined;
  const watched = (fraction: number): void => {
    try {
      onProgress(fraction);
    } catch (value) {
      thrown = { value };
      throw value;
    }
  };
  const { onEvents, bind } = weakRoute();
  const loaded = await native()
    .load(description, onEvents, watched)
    .catch((error: unknown) => {
      throw thrown !== undefined ? thrown.value : fromNative(error);
    });
  const requests = new Requests(loaded);
  bind(requests);
  return { native: loaded, requests };
}

/** The callback that native keeps must not keep the model: it would never be collected. */
function weakRoute(): {
  onEvents: (events: NativeEvent[]) => void;
  bind: (requests: Requests) => void;
} {
  let route: WeakRef<Requests> | undefined;
  return {
    onEvents: (events) => route?.deref()?.receive(events),
    bind: (requests) => {
      route = new WeakRef(requests);
    },
  };
}
