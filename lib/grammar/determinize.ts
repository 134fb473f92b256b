import { GrammarError } from '../errors';
import type { Automaton, CharacterRange } from './expression';
import { MOST_CELLS, MOST_STATES, minimizeTable, tooLarge } from './minimize';
import { ANY } from './ranges';
import type { Regex } from './regex';

const MOST_NODES = 200_000;
const MOST_WORK = 8_000_000;
const WHAT = 'regular expression';

/** What a node of the nondeterministic automaton does: take a character, or go on for nothing. */
const enum Kind {
  Accept,
  Set,
  Split,
  Start,
  End,
}

/**
 * The deterministic automaton of a regular expression.
 * @param anchored whether the whole text must match, or some part of it as in JSON Schema's `pattern`
 * @throws {GrammarError} when it would have too many states
 */
export function toAutomaton(regex: Regex, options: { readonly anchored: boolean }): Automaton {
  return minimizeTable(new Determinizer(regex, options.anchored).table());
}

class Determinizer {
  private readonly kinds: Kind[] = [];
  /** Of Set the set's index; of Split a node. */
  private readonly a: number[] = [];
  private readonly next: number[] = [];
  private readonly sets: (readonly CharacterRange[])[] = [];
  /** Sets by the list itself, which a repetition brings again and again, and by what is in it. */
  private readonly indexOf = new Map<readonly CharacterRange[], number>();
  private readonly setIndex = new Map<string, number>();
  private readonly accept: number;
  private readonly start: number;
  private work = 0;

  constructor(
    regex: Regex,
    private readonly anchored: boolean,
  ) {
    this.accept = this.node(Kind.Accept, 0, -1);
    if (anchored) {
      this.start = this.add(regex, this.accept);
      return;
    }
    this.start = this.node(Kind.Split, 0, 0);
    this.next[this.start] = this.node(Kind.Set, this.set(ANY), this.start);
    this.a[this.start] = this.add(regex, this.accept);
  }

  private node(kind: Kind, a: number, next: number): number {
    if (this.kinds.length >= MOST_NODES) throw tooLarge(WHAT);
    this.kinds.push(kind);
    this.a.push(a);
    this.next.push(next);
    return this.kinds.length - 1;
  }

  private set(ranges: readonly CharacterRange[]): number {
    const same = this.indexOf.get(ranges);
    if (same !== undefined) return same;
    this.spend(ranges.length);
    const key = ranges.join(';');
    let index = this.setIndex.get(key);
    if (index === undefined) {
      this.setIndex.set(key, (index = this.sets.length));
      this.sets.push(ranges);
    }
    this.indexOf.set(ranges, index);
    return index;
  }

  /** @returns the node from which `regex` and then `next` match */
  private add(regex: Regex, next: number): number {
    this.spend(1);
    switch (regex.type) {
      case 'characters':
        return this.node(Kind.Set, this.set(regex.ranges), next);
      case 'start':
        return this.node(Kind.Start, 0, next);
      case 'end':
        return this.node(Kind.End, 0, next);
      case 'sequence':
        return regex.items.reduceRight((after, item) => this.add(item, after), next);
      case 'choice': {
        const items = regex.items.map((item) => this.add(item, next));
        return items.reduceRight((after, item) => this.node(Kind.Split, item, after));
      }
      case 'repeat': {
        let entry = next;
        if (regex.most === Infinity) {
          entry = this.node(Kind.Split, 0, next);
          this.a[entry] = this.add(regex.item, entry);
        } else {
          for (let i = regex.least; i < regex.most; i++) {
            this.spend(1);
            entry = this.node(Kind.Split, this.add(regex.item, entry), next);
          }
        }
        for (let i = 0; i < regex.least; i++) {
          this.spend(1);
          entry = this.add(regex.item, entry);
        }
        return entry;
      }
    }
  }

  private spend(work: number): void {
    this.work += work;
    if (this.work > MOST_WORK) {
      throw new GrammarError(`${WHAT}: takes too much work`, { keyword: WHAT });
    }
  }

  table() {
    const { intervals, classOf, classes, classesOfSet } = this.characterClasses();
    const stamp = new Int32Array(this.kinds.length).fill(-1);
    let stamps = 0;
    const states: { sets: Int32Array; accepts: boolean }[] = [];
    const known = new Map<string, number>();
    const rows: Int32Array[] = [];
    // The same nodes come from state after state: that a match may begin anew, and what goes around.
    const closed = new Map<string, number>();

    const close = (nodes: readonly number[], isStart: boolean): number => {
      const found = this.closure(nodes, isStart, stamp, stamps++);
      const accepts = found === 'all' || this.endsIn(nodes, isStart, stamp, stamps++);
      // Only the first state is at the text's start.
      const key =
        found === 'all'
          ? found
          : `${isStart ? '^' : ''}${accepts ? '$' : ''}${found.sort().join()}`;
      let state = known.get(key);
      if (state !== undefined) return state;
      if (states.length >= MOST_STATES || states.length * classes > MOST_CELLS) {
        throw tooLarge(WHAT);
      }
      known.set(key, (state = states.length));
      states.push({ sets: found === 'all' ? new Int32Array(0) : found, accepts });
      if (found === 'all') {
        const row = (rows[state] = new Int32Array(classes).fill(-1));
        for (const c of classesOfSet[this.set(ANY)]!) row[c] = state;
      }
      return state;
    };

    close([this.start], true);
    for (let state = 0; state < states.length; state++) {
      if (rows[state] !== undefined) continue;
      const targets: number[][] = Array.from({ length: classes }, () => []);
      for (const node of states[state]!.sets) {
        for (const c of classesOfSet[this.a[node]!]!) targets[c]!.push(this.next[node]!);
        this.spend(classesOfSet[this.a[node]!]!.length);
      }
      this.spend(classes);
      rows[state] = Int32Array.from(targets, (nodes) => {
        if (nodes.length === 0) return -1;
        const key = nodes.join();
        let to = closed.get(key);
        if (to === undefined) closed.set(key, (to = close(nodes, false)));
        return to;
      });
    }
    const next = new Int32Array(states.length * classes);
    rows.forEach((row, state) => {
      next.set(row, state * classes);
    });
    const accepts = Uint8Array.from(states, (state) => (state.accepts ? 1 : 0));
    return { next, accepts, intervals, classOf, classes };
  }

  /**
   * The Set nodes that `nodes` lead to for nothing; `all` where some part of the text has matched
   * and the rest may be anything.
   */
  private closure(
    nodes: readonly number[],
    isStart: boolean,
    stamp: Int32Array,
    mark: number,
  ): Int32Array | 'all' {
    const found: number[] = [];
    const work = nodes.slice();
    for (let node = work.pop(); node !== undefined; node = work.pop()) {
      if (stamp[node] === mark) continue;
      stamp[node] = mark;
      this.spend(1);
      const kind = this.kinds[node]!;
      if (kind === Kind.Set) found.push(node);
      else if (kind === Kind.Split) work.push(this.next[node]!, this.a[node]!);
      else if (kind === Kind.Start && isStart) work.push(this.next[node]!);
      else if (kind === Kind.Accept && !this.anchored) return 'all';
    }
    return Int32Array.from(found);
  }

  /** Whether `nodes` lead to acceptance if the text ends here. */
  private endsIn(
    nodes: readonly number[],
    isStart: boolean,
    stamp: Int32Array,
    mark: number,
  ): boolean {
    const work = nodes.slice();
    for (let node = work.pop(); node !== undefined; node = work.pop()) {
      if (stamp[node] === mark) continue;
      stamp[node] = mark;
      this.spend(1);
      const kind = this.kinds[node]!;
      if (kind === Kind.Accept) return true;
      if (kind === Kind.Split) work.push(this.next[node]!, this.a[node]!);
      if (kind === Kind.End || (kind === Kind.Start && isStart)) work.push(this.next[node]!);
    }
    return false;
  }

  /** Classes of the characters that the same sets have. */
  private characterClasses() {
    const starts = new Set<number>();
    for (const [first, last] of this.sets.flat()) starts.add(first).add(last + 1);
    const bounds = Float64Array.from(starts).sort();
    const count = Math.max(bounds.length - 1, 0);
    const indexOf = new Map(Array.from(bounds, (bound, index) => [bound, index]));
    const keys: number[][] = Array.from({ length: count }, () => []);
    this.sets.forEach((ranges, set) => {
      for (const [first, last] of ranges) {
        const to = indexOf.get(last + 1)!;
        for (let i = indexOf.get(first)!; i < to; i++) keys[i]!.push(set);
        this.spend(to - indexOf.get(first)!);
      }
    });
    const names = new Map<string, number>();
    const classesOfSet: number[][] = this.sets.map(() => []);
    const classOf = Int32Array.from(keys, (sets) => {
      const key = sets.join();
      let name = names.get(key);
      if (name === undefined) {
        names.set(key, (name = names.size));
        for (const set of sets) classesOfSet[set]!.push(name);
      }
      return name;
    });
    const intervals = keys.map((_, i) => [bounds[i]!, bounds[i + 1]! - 1] as const);
    return { intervals, classOf, classes: names.size, classesOfSet };
  }
}
