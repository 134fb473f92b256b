import { TramontaneError } from '../../errors';
import type { Tokenizer } from '../tokenizer';

/**
 * The ids of stop strings that are control tokens: these have no text, so {@link StopStrings} never
 * sees one that a model generates.
 */
export function controlTokens(stops: readonly string[], tokenizer: Tokenizer): number[] {
  return stops.flatMap((stop) => {
    const id = tokenizer.idOf(stop);
    return id !== undefined && tokenizer.isControl(id) ? [id] : [];
  });
}

/**
 * Looks for several strings in a text that comes in pieces, and holds back what may turn out to be
 * the beginning of one. The occurrence that is complete first ends the text; of those that are
 * complete at once, the longest. An automaton after Aho and Corasick (1975): the work is linear in
 * the text, whatever the strings.
 * @example stops ["</s>"]: "a<" gives "a", then "/b" gives "</b"
 */
export class StopStrings {
  private readonly root: State = newState('');
  private state = this.root;

  /** @throws TramontaneError INVALID_OPTION for an empty string */
  constructor(stops: readonly string[]) {
    for (const stop of stops) this.insert(stop);
    this.link();
  }

  /** The text that is safe to pass on, and the stop string that is complete: then nothing follows. */
  push(text: string): { readonly text: string; readonly stop: string | undefined } {
    const held = this.state.prefix;
    for (let at = 0; at < text.length; at++) {
      this.state = this.advance(this.state, text.charCodeAt(at));
      const { stop } = this.state;
      if (stop === undefined) continue;
      this.state = this.root;
      return { text: joined(held, text, held.length + at + 1 - stop.length), stop };
    }
    const { length } = this.state.prefix;
    return { text: joined(held, text, held.length + text.length - length), stop: undefined };
  }

  /** What was held back, at the end of the text. */
  flush(): string {
    const held = this.state.prefix;
    this.state = this.root;
    return held;
  }

  private insert(stop: string): void {
    if (stop === '') throw new TramontaneError('INVALID_OPTION', 'a stop string is empty');
    let state = this.root;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      let child = state.children.get(unit);
      if (child === undefined) {
        child = newState(stop.slice(0, i + 1));
        state.children.set(unit, child);
      }
      state = child;
    }
    state.stop = stop;
  }

  /** Links each state to the longest other one that its prefix ends with, breadth first. */
  private link(): void {
    const queue: State[] = [this.root];
    for (const state of queue) {
      for (const [unit, child] of state.children) {
        const { shorter } = state;
        child.shorter = shorter === undefined ? this.root : this.advance(shorter, unit);
        child.stop ??= child.shorter.stop;
        queue.push(child);
      }
    }
  }

  private advance(from: State, unit: number): State {
    let state: State | undefined = from;
    while (state !== undefined) {
      const child = state.children.get(unit);
      if (child !== undefined) return child;
      state = state.shorter;
    }
    return this.root;
  }
}

/** What the text read so far ends with. */
interface State {
  /** The beginning of a stop string. */
  readonly prefix: string;
  readonly children: Map<number, State>;
  /** The longest stop string that the prefix ends with. */
  stop: string | undefined;
  /** The state of the longest proper suffix of the prefix; none for the root. */
  shorter: State | undefined;
}

function newState(prefix: string): State {
  return { prefix, children: new Map(), stop: undefined, shorter: undefined };
}

/** The first `length` units of the two texts together. */
function joined(first: string, second: string, length: number): string {
  if (length <= first.length) return first.slice(0, length);
  return first + second.slice(0, length - first.length);
}
