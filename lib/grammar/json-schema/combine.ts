import { GrammarError } from '../../errors';
import { ANY_ARRAY, intersectArrays, subtractArrays } from './arrays';
import {
  Refusal,
  type ArraySet,
  type Form,
  type NumberSet,
  type ObjectSet,
  type StringSet,
  type Union,
} from './form';
import { MOST_ALTERNATIVES, type Nodes } from './nodes';
import { ANY_NUMBER, intersectNumbers, subtractNumbers } from './numbers';
import { ANY_OBJECT, intersectObjects, subtractObjects } from './objects';
import { ANY_STRING, intersectStrings, subtractStrings } from './strings';

export const ANYTHING: Form = {
  null: true,
  true: true,
  false: true,
  numbers: [ANY_NUMBER],
  strings: [ANY_STRING],
  objects: [ANY_OBJECT],
  arrays: [ANY_ARRAY],
};

export const NOTHING_AT_ALL: Form = {
  null: false,
  true: false,
  false: false,
  numbers: [],
  strings: [],
  objects: [],
  arrays: [],
};

/** Intersection, union and complement of forms. What becomes too large is an error. */
export class Algebra {
  constructor(readonly nodes: Nodes) {}

  both(a: Form, b: Form): Form {
    if (a === ANYTHING || b === ANYTHING) return a === ANYTHING ? b : a;
    return {
      null: a.null && b.null,
      true: a.true && b.true,
      false: a.false && b.false,
      numbers: product(this.nodes, a.numbers, b.numbers, ANY_NUMBER, intersectNumbers),
      strings: product(this.nodes, a.strings, b.strings, ANY_STRING, intersectStrings),
      objects: product(this.nodes, a.objects, b.objects, ANY_OBJECT, (x, y) =>
        intersectObjects(this.nodes, x, y),
      ),
      arrays: product(this.nodes, a.arrays, b.arrays, ANY_ARRAY, (x, y) =>
        intersectArrays(this.nodes, x, y),
      ),
    };
  }

  either(a: Form, b: Form): Form {
    return {
      null: a.null || b.null,
      true: a.true || b.true,
      false: a.false || b.false,
      numbers: sum(a.numbers, b.numbers, ANY_NUMBER),
      strings: sum(a.strings, b.strings, ANY_STRING),
      objects: sum(a.objects, b.objects, ANY_OBJECT),
      arrays: sum(a.arrays, b.arrays, ANY_ARRAY),
    };
  }

  /** What is in `a` and not in `b`; `refusal` where that cannot be said. */
  without(a: Form, b: Form, refusal: GrammarError): Form {
    return {
      null: a.null && !b.null,
      true: a.true && !b.true,
      false: a.false && !b.false,
      numbers: difference(this.nodes, a.numbers, b.numbers, ANY_NUMBER, subtractNumbers, refusal),
      strings: difference(this.nodes, a.strings, b.strings, ANY_STRING, subtractStrings, refusal),
      objects: difference(
        this.nodes,
        a.objects,
        b.objects,
        ANY_OBJECT,
        (x, y) => subtractObjects(this.nodes, x, y),
        refusal,
      ),
      arrays: difference(
        this.nodes,
        a.arrays,
        b.arrays,
        ANY_ARRAY,
        (x, y) => subtractArrays(this.nodes, x, y),
        refusal,
      ),
    };
  }
}

/** Counts what combining two sets may take. */
export function charge(nodes: Nodes, a: Kind, b: Kind): void {
  nodes.spend(weight(a) + weight(b));
  if ('automaton' in a && 'automaton' in b) nodes.spendOn(a.automaton, b.automaton);
}

/** How much there is to look at. */
function weight(set: Kind): number {
  if ('values' in set && set.values !== undefined) {
    return set.values instanceof Set ? set.values.size : 1;
  }
  if ('named' in set) {
    return set.classes.reduce((sum, { keys }) => sum + keys.states.length, 1 + set.named.size);
  }
  if ('prefix' in set) return 1 + set.prefix.length;
  return 'automaton' in set ? 1 + (set.automaton?.states.length ?? 0) : 1;
}

export type Kind = NumberSet | StringSet | ObjectSet | ArraySet;

function product<Set extends Kind>(
  nodes: Nodes,
  a: Union<Set>,
  b: Union<Set>,
  all: Set,
  intersect: (a: Set, b: Set) => Set | undefined,
): Union<Set> {
  if (isNothing(a) || isNothing(b)) return [];
  if (a instanceof Refusal) return a;
  if (b instanceof Refusal) return b;
  const result: Set[] = [];
  for (const x of a) {
    for (const y of b) {
      charge(nodes, x, y);
      const set = x === all ? y : y === all ? x : intersect(x, y);
      if (set !== undefined) result.push(set);
      if (result.length > MOST_ALTERNATIVES) return tooMany();
    }
  }
  return result;
}

function sum<Set extends Kind>(a: Union<Set>, b: Union<Set>, all: Set): Union<Set> {
  if (a instanceof Refusal) return b instanceof Refusal || !b.includes(all) ? a : b;
  if (b instanceof Refusal) return sum(b, a, all);
  if (a.includes(all) || b.includes(all)) return [all];
  const result = [...new Set([...a, ...b])];
  return result.length > MOST_ALTERNATIVES ? tooMany() : result;
}

function difference<Set extends Kind>(
  nodes: Nodes,
  a: Union<Set>,
  b: Union<Set>,
  all: Set,
  subtract: (a: Set, b: Set) => Set[] | undefined,
  refusal: GrammarError,
): Union<Set> {
  if (isNothing(a) || isNothing(b)) return a;
  if (!(b instanceof Refusal) && b.includes(all)) return [];
  if (a instanceof Refusal) return a;
  if (b instanceof Refusal) return b;
  let left: Set[] = [...a];
  for (const y of b) {
    const next: Set[] = [];
    for (const x of left) {
      charge(nodes, x, y);
      const rest = subtract(x, y);
      if (rest === undefined) return new Refusal(refusal);
      next.push(...rest);
      if (next.length > MOST_ALTERNATIVES) return tooMany();
    }
    left = next;
  }
  return left;
}

function isNothing(union: Union<Kind>): boolean {
  return !(union instanceof Refusal) && union.length === 0;
}

function tooMany(): Refusal {
  const message = `The schema combines to more than ${MOST_ALTERNATIVES} alternatives of one type.`;
  return new Refusal(new GrammarError(message, { keyword: 'anyOf' }));
}
