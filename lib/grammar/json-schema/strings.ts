import { accepts, complement, intersect, isEmpty, lengths, ofTexts, union } from '../automaton';
import type { Automaton, AutomatonState } from '../expression';
import { MOST_EDGES } from '../minimize';
import { Refusal, type StringPattern, type StringSet, type Union } from './form';
import { trim } from './trim';

export const ANY_STRING: StringPattern = { least: 0, most: Infinity };

/** What is in both; undefined if that is nothing. */
export function intersectStrings(a: StringSet, b: StringSet): StringSet | undefined {
  if (a.values !== undefined) return only([...a.values].filter((value) => hasString(b, value)));
  if (b.values !== undefined) return intersectStrings(b, a);
  const automaton = both(a.automaton, b.automaton);
  const set = { automaton, least: Math.max(a.least, b.least), most: Math.min(a.most, b.most) };
  return isEmptyString(set) ? undefined : set;
}

/** What is in `a` and not in `b`. */
export function subtractStrings(a: StringSet, b: StringSet): StringSet[] {
  if (a.values !== undefined) {
    return compact([only([...a.values].filter((value) => !hasString(b, value)))]);
  }
  const rest: StringPattern[] = [];
  if (b.values !== undefined) {
    rest.push({ ...ANY_STRING, automaton: complement(textAutomaton([...b.values])) });
  } else {
    if (b.automaton !== undefined) rest.push({ ...ANY_STRING, automaton: complement(b.automaton) });
    if (b.least > 0) rest.push({ least: 0, most: b.least - 1 });
    if (b.most < Infinity) rest.push({ least: b.most + 1, most: Infinity });
  }
  return compact(rest.map((set) => intersectStrings(a, set)));
}

export function hasString(set: StringSet, value: string): boolean {
  if (set.values !== undefined) return set.values.has(value);
  const length = codePoints(value);
  return (
    length >= set.least &&
    length <= set.most &&
    (set.automaton === undefined || accepts(set.automaton, value))
  );
}

export function both(a: Automaton | undefined, b: Automaton | undefined): Automaton | undefined {
  return a === undefined || b === undefined ? (a ?? b) : intersect(a, b);
}

/** A set as an automaton alone; undefined where counts make it too large. */
export function stringAutomaton(strings: Union<StringSet>): Automaton | undefined {
  if (strings instanceof Refusal) return undefined;
  let all: Automaton | undefined;
  for (const set of strings) {
    const automaton = set.values === undefined ? counted(set) : textAutomaton([...set.values]);
    if (automaton === undefined) return undefined;
    all = all === undefined ? automaton : union(all, automaton);
  }
  return all ?? textAutomaton([]);
}

const MOST_COUNTED_STATES = 10_000;
const EVERY_STRING: Automaton = { states: [{ accepts: true, edges: [[0, 0x10ffff, 0]] }] };

/** The automaton of a pattern with its length in it; undefined if that has too many states. */
export function counted({
  automaton = EVERY_STRING,
  least,
  most,
}: StringPattern): Automaton | undefined {
  const found = lengths(automaton);
  if (found.least >= least && found.most <= most) return automaton;
  const levels = most === Infinity ? least : most;
  const count = automaton.states.length;
  const edges = automaton.states.reduce((sum, state) => sum + state.edges.length, 0);
  if ((levels + 1) * count > MOST_COUNTED_STATES || (levels + 1) * edges > MOST_EDGES) {
    return undefined;
  }
  const states: AutomatonState[] = [];
  for (let level = 0; level <= levels; level++) {
    const next = level === levels ? (most === Infinity ? level : undefined) : level + 1;
    for (const state of automaton.states) {
      states.push({
        accepts: state.accepts && level >= least,
        edges:
          next === undefined
            ? []
            : state.edges.map(([first, last, to]) => [first, last, next * count + to]),
      });
    }
  }
  return trim({ states });
}

/** Texts with half of a surrogate pair are in no automaton: they are written as escapes alone. */
export function textAutomaton(texts: readonly string[]): Automaton {
  return ofTexts(texts.filter((text) => !/\p{Surrogate}/u.test(text)));
}

function codePoints(value: string): number {
  return Array.from(value).length;
}

function isEmptyString({ automaton, least, most }: StringPattern): boolean {
  if (least > most) return true;
  if (automaton === undefined) return false;
  if (isEmpty(automaton)) return true;
  const found = lengths(automaton);
  return found.least > most || found.most < least;
}

function only(values: readonly string[]): StringSet | undefined {
  return values.length === 0 ? undefined : { values: new Set(values) };
}

function compact(sets: readonly (StringSet | undefined)[]): StringSet[] {
  return sets.filter((set) => set !== undefined);
}
