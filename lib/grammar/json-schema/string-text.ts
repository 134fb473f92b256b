import { ofTexts } from '../automaton';
import { countEdges, tooLarge } from '../minimize';
import {
  characters,
  choice,
  repeat,
  sequence,
  text,
  type Automaton,
  type AutomatonEdge,
  type CharacterRange,
  type Expression,
} from '../expression';
import type { StringSet } from './form';
import { counted } from './strings';
import { trim } from './trim';

/** What a JSON string may have as it is. */
const PLAIN: readonly CharacterRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
];
/** What needs an escape. */
const NOT_PLAIN: readonly CharacterRange[] = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];

const HEX = characters([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
/** One code point: surrogates are a pair, or none. */
const UNICODE_ESCAPE = sequence(
  text('u'),
  choice(
    sequence(
      characters([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
      HEX,
      HEX,
      HEX,
    ),
    sequence(characters([0x44, 0x44], [0x64, 0x64]), characters([0x30, 0x37]), HEX, HEX),
    sequence(
      characters([0x44, 0x44], [0x64, 0x64]),
      characters([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]),
      HEX,
      HEX,
      text('\\u'),
      characters([0x44, 0x44], [0x64, 0x64]),
      characters([0x43, 0x46], [0x63, 0x66]),
      HEX,
      HEX,
    ),
  ),
);
const ESCAPES = Array.from('"\\/bfnrt', (escape) => escape.charCodeAt(0));
const CHARACTER: Expression = choice(
  characters(...PLAIN),
  sequence(
    text('\\'),
    choice(characters(...ESCAPES.map((code): CharacterRange => [code, code])), UNICODE_ESCAPE),
  ),
);

const FREE_STRING = countedString(0, Infinity);

export function freeString(least = 0, most = Infinity): Expression {
  return least === 0 && most === Infinity ? FREE_STRING : countedString(least, most);
}

function countedString(least: number, most: number): Expression {
  return sequence(text('"'), repeat(CHARACTER, least, most), text('"'));
}

/**
 * How strings of a set are written: those of an automaton or of a list with escapes only where JSON
 * needs them. Undefined where that would take too many states.
 */
export function stringText(set: StringSet): Expression | undefined {
  if (set.values !== undefined) return textsOf([...set.values]);
  const { automaton, least, most } = set;
  if (automaton === undefined) return freeString(least, most);
  const body = loop(automaton, least, most) ?? spelledCount(set);
  return body && sequence(text('"'), body, text('"'));
}

/** Strings of which there are few. */
export function textsOf(values: readonly string[]): Expression {
  if (values.length < 2) return choice(...values.map((value) => text(JSON.stringify(value))));
  return { type: 'automaton', automaton: ofTexts(values.map((value) => JSON.stringify(value))) };
}

export function keyText(keys: Automaton | undefined): Expression {
  if (keys === undefined) return freeString();
  return sequence(text('"'), { type: 'automaton', automaton: spelled(keys) }, text('"'));
}

function spelledCount(
  set: Exclude<StringSet, { values: ReadonlySet<string> }>,
): Expression | undefined {
  const automaton = counted(set);
  return automaton && { type: 'automaton', automaton: spelled(automaton) };
}

/** `[a-z]*` and `[a-z]+` are counted by native, whatever the counts. */
function loop({ states }: Automaton, least: number, most: number): Expression | undefined {
  const [first, second] = states;
  const goesAround = second ?? first!;
  const number = second === undefined ? 0 : 1;
  if (
    states.length > 2 ||
    !goesAround.accepts ||
    goesAround.edges.some((edge) => edge[2] !== number)
  )
    return undefined;
  if (second !== undefined && !same(first!.edges, second.edges)) return undefined;
  const ranges = goesAround.edges.map(([from, to]): CharacterRange => [from, to]);
  return repeat(characterOf(ranges), first!.accepts ? least : Math.max(1, least), most);
}

function same(a: readonly AutomatonEdge[], b: readonly AutomatonEdge[]): boolean {
  return (
    a.length === b.length && a.every((edge, i) => edge.every((number, j) => number === b[i]![j]))
  );
}

/** One of these characters, spelled. */
function characterOf(ranges: readonly CharacterRange[]): Expression {
  const plain: CharacterRange[] = [];
  for (const [first, last] of ranges) {
    clip(first, last, PLAIN, (from, until) => plain.push([from, until]));
  }
  const items = [...ESCAPED].filter(([code]) =>
    ranges.some(([from, to]) => from <= code && code <= to),
  );
  const escapes = items.map(([, spelling]) => text(spelling));
  return choice(...(plain.length === 0 ? [] : [characters(...plain)]), ...escapes);
}

/** Code points that JSON has escapes for, with the shortest. */
const ESCAPED: ReadonlyMap<number, string> = new Map(
  [0x22, 0x5c, ...Array.from({ length: 0x20 }, (_, code) => code)].map((code) => [
    code,
    JSON.stringify(String.fromCharCode(code)).slice(1, -1),
  ]),
);

/** By the next character of an escape: what follows it, or the code point that it was. */
type EscapeNode = readonly (readonly [character: number, after: EscapeNode | number])[];

function escapesOf(spellings: readonly (readonly [rest: string, code: number])[]): EscapeNode {
  const starts = [...new Set(spellings.map(([rest]) => rest.charCodeAt(0)))].sort((a, b) => a - b);
  return starts.map((character) => {
    const group = spellings.filter(([rest]) => rest.charCodeAt(0) === character);
    const [rest, code] = group[0]!;
    return rest.length === 1
      ? [character, code]
      : [character, escapesOf(group.map(([longer, of]) => [longer.slice(1), of]))];
  });
}

/** What may follow a backslash. */
const AFTER_BACKSLASH = escapesOf(
  [...ESCAPED].map(([code, spelling]) => [spelling.slice(1), code]),
);

/** An automaton over what strings hold, as one over how JSON writes them. */
export function spelled(automaton: Automaton): Automaton {
  let found = spelledBefore.get(automaton);
  if (found === undefined) {
    found = spell(automaton);
    spelledBefore.set(automaton, found);
  }
  return found;
}

/** Formats and patterns come again and again. */
const spelledBefore = new WeakMap<Automaton, Automaton>();

/** States of one automaton: with more a grammar's tables would soon be full. */
const MOST_SPELLED = 10_000;

function spell({ states }: Automaton): Automaton {
  const result: { accepts: boolean; edges: AutomatonEdge[] }[] = states.map(({ accepts }) => ({
    accepts,
    edges: [],
  }));
  let all = 0;
  // Escapes that lead to the same states are read by the same states.
  const known = new Map<string, number>();
  const readers = new Map<string, number>();
  const reader = (
    node: EscapeNode,
    targets: readonly (number | undefined)[],
  ): number | undefined => {
    const made: AutomatonEdge[] = [];
    for (const [character, after] of node) {
      const to = typeof after === 'number' ? targets[after] : reader(after, targets);
      if (to !== undefined) made.push([character, character, to]);
    }
    if (made.length === 0) return undefined;
    const name = made.join(';');
    let state = known.get(name);
    if (state === undefined) {
      state = result.push({ accepts: false, edges: made }) - 1;
      if (state >= MOST_SPELLED) throw tooLarge('automaton');
      known.set(name, state);
      countEdges(made.length, (all += made.length));
    }
    return state;
  };
  states.forEach(({ edges }, i) => {
    const plain: AutomatonEdge[] = [];
    const escaped: AutomatonEdge[] = [];
    for (const [first, last, to] of edges) {
      clip(first, last, PLAIN, (from, until) => plain.push([from, until, to]));
      clip(first, last, NOT_PLAIN, (from, until) => escaped.push([from, until, to]));
    }
    if (escaped.length > 0) {
      const key = escaped.join(';');
      let state = readers.get(key);
      if (state === undefined) {
        const targets: number[] = [];
        for (const [first, last, to] of escaped) {
          for (let code = first; code <= last; code++) targets[code] = to;
        }
        state = reader(AFTER_BACKSLASH, targets)!;
        readers.set(key, state);
      }
      plain.push([0x5c, 0x5c, state]);
      plain.sort((a, b) => a[0] - b[0]);
    }
    result[i]!.edges = plain;
  });
  return trim({ states: result });
}

/** The parts of a range that are in a list of them. */
function clip(
  first: number,
  last: number,
  to: readonly CharacterRange[],
  add: (first: number, last: number) => void,
): void {
  for (const [from, until] of to) {
    if (from <= last && first <= until) add(Math.max(first, from), Math.min(last, until));
  }
}
