import type { GrammarError } from '../../errors';
import { intersectArrays, subtractArrays } from './arrays';
import { charge, type Algebra, type Kind as AnySet } from './combine';
import type { Emptiness } from './emptiness';
import { Refusal, type ArraySet, type Form, type ObjectSet, type Union } from './form';
import { NONE, type Nodes } from './nodes';
import { intersectNumbers, subtractNumbers } from './numbers';
import { intersectObjects, subtractObjects } from './objects';
import { intersectStrings, subtractStrings } from './strings';

/** How sets of one type are told apart. */
interface Kind<Set> {
  /** Where it says no, they may be disjoint all the same. */
  readonly disjoint: (a: Set, b: Set) => boolean;
  /** Undefined where that cannot be said. */
  readonly subtract: (a: Set, b: Set) => Set[] | undefined;
  /** Less of a set, where that helps. */
  readonly narrow?: (a: Set) => Set;
}

const MOST_ALTERNATIVES = 128;

/**
 * What is in one of the forms and in none of the others: `oneOf`.
 * @param closed objects may be narrowed to the properties they name, as they will be written
 */
export function exactlyOne(
  forms: readonly Form[],
  { nodes }: Algebra,
  emptiness: Emptiness,
  refusal: GrammarError,
  closed: boolean,
): Form {
  const once = (key: 'null' | 'true' | 'false'): boolean =>
    forms.filter((form) => form[key]).length === 1;
  return {
    null: once('null'),
    true: once('true'),
    false: once('false'),
    numbers: exclusive(
      nodes,
      forms.map(({ numbers }) => numbers),
      NUMBERS,
      refusal,
    ),
    strings: exclusive(
      nodes,
      forms.map(({ strings }) => strings),
      STRINGS,
      refusal,
    ),
    objects: exclusive(
      nodes,
      forms.map(({ objects }) => objects),
      objectKind(nodes, emptiness, closed),
      refusal,
    ),
    arrays: exclusive(
      nodes,
      forms.map(({ arrays }) => arrays),
      arrayKind(nodes, emptiness),
      refusal,
    ),
  };
}

const NUMBERS = {
  disjoint: (a, b) => intersectNumbers(a, b) === undefined,
  subtract: subtractNumbers,
} satisfies Kind<Parameters<typeof subtractNumbers>[0]>;

const STRINGS = {
  disjoint: (a, b) => intersectStrings(a, b) === undefined,
  subtract: subtractStrings,
} satisfies Kind<Parameters<typeof subtractStrings>[0]>;

function objectKind(nodes: Nodes, emptiness: Emptiness, closed: boolean): Kind<ObjectSet> {
  const narrow = (set: ObjectSet): ObjectSet =>
    set.restIsImplicit && set.hasProperties ? { ...set, rest: NONE, restIsImplicit: false } : set;
  return {
    disjoint: (a, b) =>
      !a.isNarrowed && !b.isNarrowed && emptiness.isEmptyObject(intersectObjects(nodes, a, b)),
    subtract: (a, b) =>
      subtractObjects(nodes, a, b)?.filter((set) => !emptiness.isEmptyObject(set)),
    ...(closed ? { narrow } : {}),
  };
}

function arrayKind(nodes: Nodes, emptiness: Emptiness): Kind<ArraySet> {
  return {
    disjoint: (a, b) => emptiness.isEmptyArray(intersectArrays(nodes, a, b)),
    subtract: (a, b) => subtractArrays(nodes, a, b)?.filter((set) => !emptiness.isEmptyArray(set)),
  };
}

function exclusive<Set extends AnySet>(
  nodes: Nodes,
  unions: readonly Union<Set>[],
  kind: Kind<Set>,
  refusal: GrammarError,
): Union<Set> {
  const lists: (readonly Set[])[] = [];
  for (const union of unions) {
    if (union instanceof Refusal) return union;
    lists.push(union);
  }
  const result: Set[] = [];
  for (let i = 0; i < lists.length; i++) {
    const others = lists.filter((_, j) => j !== i).flat();
    for (const set of lists[i]!) {
      const left = apart(nodes, set, others, kind);
      if (left === undefined || result.length + left.length > MOST_ALTERNATIVES)
        return new Refusal(refusal);
      result.push(...left);
    }
  }
  return result;
}

/** What of a set is in none of the others. */
function apart<Set extends AnySet>(
  nodes: Nodes,
  set: Set,
  others: readonly Set[],
  kind: Kind<Set>,
): readonly Set[] | undefined {
  const exact = without(nodes, set, others, kind);
  if (exact !== undefined || kind.narrow === undefined) return exact;
  const narrowed = kind.narrow(set);
  if (narrowed === set) return undefined;
  const left = without(nodes, narrowed, others, kind);
  // Nothing may be left of what was narrowed, though something is of the set.
  return left === undefined || left.length === 0
    ? undefined
    : left.map((item) => ({ ...item, isNarrowed: true }));
}

function without<Set extends AnySet>(
  nodes: Nodes,
  set: Set,
  others: readonly Set[],
  kind: Kind<Set>,
): readonly Set[] | undefined {
  let left: readonly Set[] = [set];
  for (const other of others) {
    const next: Set[] = [];
    for (const item of left) {
      charge(nodes, item, other);
      if (kind.disjoint(item, other)) next.push(item);
      else {
        const rest = kind.subtract(item, other);
        if (rest === undefined || next.length + rest.length > MOST_ALTERNATIVES) return undefined;
        next.push(...rest);
      }
    }
    left = next;
  }
  return left;
}
