import { GrammarError } from '../errors';
import type { Automaton, AutomatonEdge, CharacterRange } from './expression';

/** States of one automaton, and cells of one table: states by classes of characters. */
export const MOST_STATES = 20_000;
export const MOST_CELLS = 1_000_000;
/** Of one automaton: some 12 MB. Real schemas have a few thousand. */
export const MOST_EDGES = 200_000;

/**
 * A deterministic automaton over classes of characters that it does not tell apart. State 0 is
 * where it starts.
 */
export interface Table {
  /** [states][classes]; -1 where nothing goes on. */
  readonly next: Int32Array;
  readonly accepts: Uint8Array;
  /** Disjoint intervals in rising order, and the class of each. */
  readonly intervals: readonly CharacterRange[];
  readonly classOf: Int32Array;
  readonly classes: number;
}

let edgesMade = 0;

/** How many edges automata were made of until now, by which a schema's may be counted. */
export function madeEdges(): number {
  return edgesMade;
}

/**
 * Counts edges that were made.
 * @param all how many the automaton has by now
 */
export function countEdges(made: number, all: number): void {
  edgesMade += made;
  if (all > MOST_EDGES) throw tooLarge('automaton');
}

export function tooLarge(what: string): GrammarError {
  return new GrammarError(`${what} is too large: it needs too many states`, { keyword: what });
}

/** The least automaton of the same language, without states that lead nowhere. */
export function minimize(automaton: Automaton): Automaton {
  return isLeast(automaton) ? automaton : minimizeTable(toTable(automaton));
}

const leastOnes = new WeakSet<Automaton>();

/** Notes that an automaton has neither states to merge nor states that lead nowhere. */
export function knownLeast(automaton: Automaton): Automaton {
  leastOnes.add(automaton);
  return automaton;
}

export function isLeast(automaton: Automaton): boolean {
  return leastOnes.has(automaton);
}

export function minimizeTable(table: Table): Automaton {
  const live = liveStates(table);
  return knownLeast(
    live[0] === 0
      ? { states: [{ accepts: false, edges: [] }] }
      : quotient(table, refine(table, live)),
  );
}

function toTable({ states }: Automaton): Table {
  const starts = new Set<number>();
  for (const { edges } of states) {
    for (const [first, last] of edges) starts.add(first).add(last + 1);
  }
  const bounds = Float64Array.from(starts).sort();
  const count = Math.max(bounds.length - 1, 0);
  if (states.length * count > MOST_CELLS) throw tooLarge('automaton');
  const indexOf = new Map(Array.from(bounds, (bound, index) => [bound, index]));
  // [intervals][states]: where each interval leads.
  const columns = new Int32Array(count * states.length).fill(-1);
  states.forEach(({ edges }, state) => {
    for (const [first, last, to] of edges) {
      const end = indexOf.get(last + 1)!;
      for (let i = indexOf.get(first)!; i < end; i++) columns[i * states.length + state] = to;
    }
  });
  const { classOf, examples } = sameColumns(columns, count, states.length);
  const classes = examples.length;
  const next = new Int32Array(states.length * classes);
  for (let state = 0; state < states.length; state++) {
    for (let c = 0; c < classes; c++) {
      next[state * classes + c] = columns[examples[c]! * states.length + state]!;
    }
  }
  return {
    next,
    accepts: Uint8Array.from(states, (state) => (state.accepts ? 1 : 0)),
    intervals: Array.from({ length: count }, (_, i) => [bounds[i]!, bounds[i + 1]! - 1] as const),
    classOf,
    classes,
  };
}

/** Classes of equal columns, each with one of them. */
function sameColumns(columns: Int32Array, count: number, height: number) {
  const classOf = new Int32Array(count);
  const examples: number[] = [];
  const byHash = new Map<number, number[]>();
  const equal = (i: number, j: number): boolean => {
    for (let k = 0; k < height; k++) {
      if (columns[i * height + k] !== columns[j * height + k]) return false;
    }
    return true;
  };
  for (let i = 0; i < count; i++) {
    let hash = 0;
    for (let k = i * height; k < (i + 1) * height; k++) {
      hash = (Math.imul(hash, 0x01000193) + columns[k]!) | 0;
    }
    let candidates = byHash.get(hash);
    if (candidates === undefined) byHash.set(hash, (candidates = []));
    let found = candidates.find((name) => equal(examples[name]!, i));
    if (found === undefined) {
      candidates.push((found = examples.length));
      examples.push(i);
    }
    classOf[i] = found;
  }
  return { classOf, examples };
}

/** [states]: 1 where an accepting state can be reached. */
function liveStates({ next, accepts, classes }: Table): Uint8Array {
  const { from, offsets } = sources(next, accepts.length, classes);
  const live = Uint8Array.from(accepts);
  const work: number[] = [];
  live.forEach((isLive, state) => isLive === 1 && work.push(state));
  for (let state = work.pop(); state !== undefined; state = work.pop()) {
    for (let c = 0; c < classes; c++) {
      const cell = state * classes + c;
      for (let i = offsets[cell]!; i < offsets[cell + 1]!; i++) {
        if (live[from[i]!] === 1) continue;
        live[from[i]!] = 1;
        work.push(from[i]!);
      }
    }
  }
  return live;
}

/** The table turned around: the states that go to `state` by `c` lie from offsets[state, c] on. */
function sources(next: Int32Array, states: number, classes: number) {
  const offsets = new Int32Array(states * classes + 1);
  for (let cell = 0; cell < states * classes; cell++) {
    if (next[cell]! >= 0) offsets[next[cell]! * classes + (cell % classes) + 1]!++;
  }
  for (let i = 0; i < states * classes; i++) offsets[i + 1]! += offsets[i]!;
  const fill = offsets.slice();
  const from = new Int32Array(offsets[states * classes]!);
  for (let cell = 0; cell < states * classes; cell++) {
    if (next[cell]! < 0) continue;
    const target = next[cell]! * classes + (cell % classes);
    from[fill[target]!++] = Math.floor(cell / classes);
  }
  return { from, offsets };
}

/**
 * Hopcroft's partition refinement.
 * @returns [states] the block of each state; -1 for those that are not live
 */
function refine({ next, accepts, classes }: Table, live: Uint8Array): Int32Array {
  // One more state takes what goes nowhere, so that every state goes on by every class.
  const states = accepts.length + 1;
  const sink = accepts.length;
  const total = new Int32Array(states * classes).fill(sink);
  for (let cell = 0; cell < next.length; cell++) {
    const to = next[cell]!;
    if (to >= 0 && live[to] === 1 && live[Math.floor(cell / classes)] === 1) total[cell] = to;
  }
  const { from, offsets } = sources(total, states, classes);

  // The states in the order of their blocks; block b is order[start[b]] to order[end[b] - 1].
  const order = new Int32Array(states);
  const place = new Int32Array(states);
  const block = new Int32Array(states);
  const start = new Int32Array(states);
  const end = new Int32Array(states);
  const marked = new Int32Array(states);
  let blocks = 0;
  let filled = 0;
  for (const accepting of [1, 0]) {
    const before = filled;
    for (let state = 0; state < states; state++) {
      if ((accepts[state] ?? 0) !== accepting) continue;
      block[state] = blocks;
      place[state] = filled;
      order[filled++] = state;
    }
    if (filled === before) continue;
    start[blocks] = before;
    end[blocks++] = filled;
  }

  const queued = new Uint8Array(states);
  const work: number[] = [];
  for (let b = 0; b < blocks; b++) {
    queued[b] = 1;
    work.push(b);
  }
  const touched: number[] = [];
  for (let splitter = work.pop(); splitter !== undefined; splitter = work.pop()) {
    queued[splitter] = 0;
    const members = order.slice(start[splitter], end[splitter]);
    for (let c = 0; c < classes; c++) {
      for (const member of members) {
        const cell = member * classes + c;
        for (let i = offsets[cell]!; i < offsets[cell + 1]!; i++) {
          const state = from[i]!;
          const b = block[state]!;
          const to = start[b]! + marked[b]!;
          if (place[state]! < to) continue;
          if (marked[b] === 0) touched.push(b);
          marked[b]!++;
          const other = order[to]!;
          order[place[state]!] = other;
          place[other] = place[state]!;
          order[to] = state;
          place[state] = to;
        }
      }
      for (let b = touched.pop(); b !== undefined; b = touched.pop()) {
        const middle = start[b]! + marked[b]!;
        marked[b] = 0;
        if (middle === end[b]) continue;
        // The smaller part becomes the new block.
        const isFirst = middle - start[b]! <= end[b]! - middle;
        const fresh = blocks++;
        start[fresh] = isFirst ? start[b]! : middle;
        end[fresh] = isFirst ? middle : end[b]!;
        if (isFirst) start[b] = middle;
        else end[b] = middle;
        for (let i = start[fresh]; i < end[fresh]; i++) block[order[i]!] = fresh;
        queued[fresh] = 1;
        work.push(fresh);
      }
    }
  }
  for (let state = 0; state < sink; state++) if (live[state] === 0) block[state] = -1;
  return block.subarray(0, sink);
}

/** One state of each block that state 0 reaches, numbered as they are found. */
function quotient(table: Table, block: Int32Array): Automaton {
  const { next, accepts, intervals, classOf, classes } = table;
  // Of the blocks one may be of the state that takes what goes nowhere.
  const number = new Int32Array(block.length + 1).fill(-1);
  number[block[0]!] = 0;
  const found = [0];
  let all = 0;
  const states: { accepts: boolean; edges: AutomatonEdge[] }[] = [];
  for (let at = 0; at < found.length; at++) {
    const state = found[at]!;
    const edges: [number, number, number][] = [];
    let before: [number, number, number] | undefined;
    for (let i = 0; i < intervals.length; i++) {
      const target = next[state * classes + classOf[i]!]!;
      if (target < 0 || block[target]! < 0) continue;
      let to = number[block[target]!]!;
      if (to < 0) {
        number[block[target]!] = to = found.length;
        found.push(target);
      }
      const [first, last] = intervals[i]!;
      if (before?.[2] === to && before[1] + 1 === first) before[1] = last;
      else edges.push((before = [first, last, to]));
    }
    countEdges(edges.length, (all += edges.length));
    states.push({ accepts: accepts[state] === 1, edges });
  }
  return { states };
}
