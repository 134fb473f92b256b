import { GrammarError } from '../errors';
import type { Automaton, AutomatonEdge, CharacterRange } from './expression';
import { MOST_STATES, countEdges, isLeast, knownLeast, minimize, tooLarge } from './minimize';
import { ANY, normalize } from './ranges';

export { toAutomaton } from './determinize';
export { minimize } from './minimize';

const MOST_WORK = 20_000_000;
/** Making a state of two takes as much as so many edges. */
const STATE_WORK = 8;

interface State {
  accepts: boolean;
  edges: AutomatonEdge[];
}

/** One character of `ranges`. */
export function fromRanges(ranges: readonly CharacterRange[]): Automaton {
  const edges = normalize(ranges).map(([first, last]): AutomatonEdge => [first, last, 1]);
  return minimize({
    states: [
      { accepts: false, edges },
      { accepts: true, edges: [] },
    ],
  });
}

/**
 * The least automaton of a list of texts.
 * @throws {GrammarError} for a text with half of a surrogate pair, which has no UTF-8
 */
export function ofTexts(texts: readonly string[]): Automaton {
  // Daciuk et al., Incremental construction of minimal acyclic finite-state automata: texts come
  // sorted, so that what the next text does not share can be merged with equal states.
  const states: State[] = [{ accepts: false, edges: [] }];
  const registered = new Map<string, number>();
  const path = [0];
  let before: string[] = [];
  const finish = (depth: number): void => {
    while (path.length > depth + 1) {
      const state = path.pop()!;
      const { accepts, edges } = states[state]!;
      edges.sort((a, b) => a[0] - b[0]);
      const key = `${accepts ? 1 : 0};${edges.join(';')}`;
      const equal = registered.get(key);
      if (equal === undefined) {
        registered.set(key, state);
        continue;
      }
      const parent = states[path.at(-1)!]!.edges;
      const edge = parent.findIndex(([, , to]) => to === state);
      parent[edge] = [parent[edge]![0], parent[edge]![1], equal];
    }
  };
  for (const text of [...texts].sort()) {
    if (/\p{Surrogate}/u.test(text)) {
      const message = `${JSON.stringify(text)} has half of a surrogate pair: no text in UTF-8 has`;
      throw new GrammarError(message, { keyword: 'text' });
    }
    const characters = Array.from(text);
    let shared = 0;
    while (shared < before.length && before[shared] === characters[shared]) shared++;
    finish(shared);
    for (let i = shared; i < characters.length; i++) {
      const code = characters[i]!.codePointAt(0)!;
      states[path.at(-1)!]!.edges.push([code, code, states.length]);
      path.push(states.length);
      states.push({ accepts: false, edges: [] });
    }
    states[path.at(-1)!]!.accepts = true;
    before = characters;
  }
  finish(0);
  states[0]!.edges.sort((a, b) => a[0] - b[0]);
  return knownLeast(reachable(states));
}

export function intersect(a: Automaton, b: Automaton): Automaton {
  if (a === b) return minimize(a);
  const found = intersections.get(a)?.get(b);
  if (found !== undefined) return found;
  const common = product(a, b, (x, y) => x && y);
  const made = common.states.some((state) => state.accepts) ? minimize(common) : NO_TEXT;
  remember(a, b, made);
  remember(b, a, made);
  return made;
}

/** The same patterns meet again and again. */
const intersections = new WeakMap<Automaton, WeakMap<Automaton, Automaton>>();
const complements = new WeakMap<Automaton, Automaton>();

function remember(a: Automaton, b: Automaton, made: Automaton): void {
  let others = intersections.get(a);
  if (others === undefined) intersections.set(a, (others = new WeakMap()));
  others.set(b, made);
}

/** What `a` accepts and `b` does not. */
export function subtract(a: Automaton, b: Automaton): Automaton {
  return isEmpty(intersect(a, b)) ? a : intersect(a, complement(b));
}

export function union(a: Automaton, b: Automaton): Automaton {
  return minimize(product(a, b, (x, y) => x || y));
}

/** Every text that `a` does not accept. */
export function complement(a: Automaton): Automaton {
  let found = complements.get(a);
  if (found === undefined) complements.set(a, (found = turned(minimize(a))));
  return found;
}

/** Of a least automaton, which has at most one state from which all is accepted. */
function turned({ states }: Automaton): Automaton {
  const takesAll = states.map(
    ({ accepts, edges }, state) =>
      accepts && edges.every(([, , to]) => to === state) && gapsOf(edges).length === 0,
  );
  if (takesAll[0] === true) return NO_TEXT;
  const sink = states.length;
  let all = 0;
  const result = states.map(({ accepts, edges }): State => {
    const kept = edges.filter(([, , to]) => takesAll[to] !== true);
    for (const [first, last] of gapsOf(edges)) kept.push([first, last, sink]);
    countEdges(kept.length, (all += kept.length));
    return { accepts: !accepts, edges: kept.sort((a, b) => a[0] - b[0]) };
  });
  result.push({
    accepts: true,
    edges: [...ANY.map(([first, last]): AutomatonEdge => [first, last, sink])],
  });
  return knownLeast(reachable(result));
}

function gapsOf(edges: readonly AutomatonEdge[]): CharacterRange[] {
  const gaps: CharacterRange[] = [];
  let i = 0;
  for (const [low, high] of ANY) {
    let next = low;
    for (; i < edges.length && edges[i]![0] <= high; i++) {
      const [first, last] = edges[i]!;
      if (first > next) gaps.push([next, first - 1]);
      next = last + 1;
    }
    if (next <= high) gaps.push([next, high]);
  }
  return gaps;
}

export function isEmpty(a: Automaton): boolean {
  return lengths(a).most < 0;
}

/** Whether `a` accepts all that `b` accepts. */
export function includes(a: Automaton, b: Automaton): boolean {
  return product(a, b, (x, y) => y && !x).states.every((state) => !state.accepts);
}

/** Whether no text is accepted by both. */
export function disjoint(a: Automaton, b: Automaton): boolean {
  return product(a, b, (x, y) => x && y).states.every((state) => !state.accepts);
}

export function accepts({ states }: Automaton, text: string): boolean {
  let state = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const edge = states[state]!.edges.find(([first, last]) => first <= code && code <= last);
    if (edge === undefined) return false;
    state = edge[2];
  }
  return states[state]!.accepts;
}

export interface Lengths {
  readonly least: number;
  readonly most: number;
}

const lengthsOf = new WeakMap<Automaton, Lengths>();

/** How many characters the texts have: Infinity and -1 if there are no texts. */
export function lengths(a: Automaton): Lengths {
  let found = lengthsOf.get(a);
  if (found === undefined) lengthsOf.set(a, (found = findLengths(a)));
  return found;
}

function findLengths(a: Automaton): Lengths {
  const { states } = isLeast(a) ? a : trimmed(a);
  if (states.length === 1 && !states[0]!.accepts) return { least: Infinity, most: -1 };
  const distance = new Int32Array(states.length).fill(-1);
  distance[0] = 0;
  let least = Infinity;
  const queue = [0];
  for (let at = 0; at < queue.length; at++) {
    const state = queue[at]!;
    if (states[state]!.accepts) least = Math.min(least, distance[state]!);
    for (const [, , to] of states[state]!.edges) {
      if (distance[to]! >= 0) continue;
      distance[to] = distance[state]! + 1;
      queue.push(to);
    }
  }
  return { least, most: longest(states) };
}

/** The longest way from state 0, where every state leads to acceptance; Infinity with a cycle. */
function longest(states: Automaton['states']): number {
  const incoming = new Int32Array(states.length);
  for (const { edges } of states) for (const [, , to] of edges) incoming[to]!++;
  const length = new Int32Array(states.length);
  const ready = incoming[0] === 0 ? [0] : [];
  let done = 0;
  let most = 0;
  for (let state = ready.pop(); state !== undefined; state = ready.pop()) {
    done++;
    most = Math.max(most, length[state]!);
    for (const [, , to] of states[state]!.edges) {
      length[to] = Math.max(length[to]!, length[state]! + 1);
      incoming[to]!--;
      if (incoming[to] === 0) ready.push(to);
    }
  }
  return done === states.length ? most : Infinity;
}

const NO_TEXT = knownLeast({ states: [{ accepts: false, edges: [] }] });

/** Both at once. A state that is -1 accepts nothing any more. */
function product(
  a: Automaton,
  b: Automaton,
  accept: (a: boolean, b: boolean) => boolean,
): Automaton {
  // Where one has ended, the other matters only if what it alone accepts does.
  const aAlone = accept(true, false);
  const bAlone = accept(false, true);
  const width = b.states.length + 1;
  const known = new Map<number, number>();
  const xOf: number[] = [];
  const yOf: number[] = [];
  const states: State[] = [];
  let work = 0;
  let all = 0;
  const find = (x: number, y: number): number => {
    const key = (x + 1) * width + y + 1;
    let state = known.get(key);
    if (state !== undefined) return state;
    if (states.length >= MOST_STATES) throw tooLarge('automaton');
    known.set(key, (state = states.length));
    xOf.push(x);
    yOf.push(y);
    const isAccepted = accept(a.states[x]?.accepts ?? false, b.states[y]?.accepts ?? false);
    states.push({ accepts: isAccepted, edges: [] });
    return state;
  };
  find(0, 0);
  for (let at = 0; at < states.length; at++) {
    const x = xOf[at]!;
    const y = yOf[at]!;
    const xs = a.states[x]?.edges ?? [];
    const ys = b.states[y]?.edges ?? [];
    work += xs.length + ys.length + 1;
    if (work > MOST_WORK) throw tooLarge('automaton');
    const { edges } = states[at]!;
    let i = 0;
    let j = 0;
    for (let code = 0; i < xs.length || j < ys.length;) {
      const [xFirst, xLast, xTo] = xs[i] ?? NEVER;
      const [yFirst, yLast, yTo] = ys[j] ?? NEVER;
      code = Math.max(code, Math.min(xFirst, yFirst));
      const inX = xFirst <= code;
      const inY = yFirst <= code;
      const last = Math.min(inX ? xLast : xFirst - 1, inY ? yLast : yFirst - 1);
      if ((inX && inY) || (inX && aAlone) || (inY && bAlone)) {
        edges.push([code, last, find(inX ? xTo : -1, inY ? yTo : -1)]);
      }
      code = last + 1;
      if (last === xLast) i++;
      if (last === yLast) j++;
    }
    countEdges(edges.length, (all += edges.length));
  }
  countEdges(STATE_WORK * states.length, all);
  return { states };
}

const NEVER: AutomatonEdge = [Infinity, Infinity, -1];

/** Without the states from which nothing is accepted. */
function trimmed({ states }: Automaton): Automaton {
  const sources = states.map((): number[] => []);
  states.forEach(({ edges }, state) => {
    for (const [, , to] of edges) sources[to]!.push(state);
  });
  const live = Uint8Array.from(states, ({ accepts }) => (accepts ? 1 : 0));
  const work = Array.from(live.keys()).filter((state) => live[state] === 1);
  for (let state = work.pop(); state !== undefined; state = work.pop()) {
    for (const source of sources[state]!) {
      if (live[source] === 1) continue;
      live[source] = 1;
      work.push(source);
    }
  }
  return reachable(
    states.map(({ accepts, edges }) => ({
      accepts,
      edges: edges.filter(([, , to]) => live[to] === 1),
    })),
  );
}

/** The states that state 0 reaches, numbered anew. */
function reachable(states: readonly State[]): Automaton {
  const number = new Map<number, number>([[0, 0]]);
  const found = [0];
  const kept: State[] = [];
  for (let at = 0; at < found.length; at++) {
    const { accepts, edges } = states[found[at]!]!;
    const renumbered: [number, number, number][] = [];
    for (const [first, last, target] of edges) {
      let to = number.get(target);
      if (to === undefined) {
        number.set(target, (to = found.length));
        found.push(target);
      }
      const before = renumbered.at(-1);
      if (before?.[2] === to && before[1] + 1 === first) before[1] = last;
      else renumbered.push([first, last, to]);
    }
    kept.push({ accepts, edges: renumbered });
  }
  return { states: kept };
}
