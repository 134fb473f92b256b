import { GrammarError } from '../../errors';
import { accepts, intersect, isEmpty, subtract } from '../automaton';
import type { Automaton } from '../expression';
import type { KeyClass, Node, ObjectSet } from './form';
import { ANY, MOST_ALTERNATIVES, NONE, type Nodes } from './nodes';

export const ANY_OBJECT: ObjectSet = {
  named: new Map(),
  required: new Set(),
  classes: [],
  rest: ANY,
  restIsImplicit: true,
  hasProperties: false,
  isNarrowed: false,
  least: 0,
  most: Infinity,
};

/** What the values of a key must be. */
export function nodeOfKey(set: ObjectSet, key: string): Node {
  return set.named.get(key) ?? set.classes.find(({ keys }) => accepts(keys, key))?.node ?? set.rest;
}

/** What is in both, which may turn out to be nothing. */
export function intersectObjects(nodes: Nodes, a: ObjectSet, b: ObjectSet): ObjectSet {
  const named = new Map<string, Node>();
  for (const key of [...a.named.keys(), ...b.named.keys()]) {
    if (!named.has(key)) named.set(key, nodes.all([nodeOfKey(a, key), nodeOfKey(b, key)]));
  }
  return {
    named,
    required: new Set([...a.required, ...b.required]),
    classes: intersectClasses(nodes, a, b),
    rest: nodes.all([a.rest, b.rest]),
    restIsImplicit: a.restIsImplicit && b.restIsImplicit,
    hasProperties: a.hasProperties || b.hasProperties,
    isNarrowed: a.isNarrowed || b.isNarrowed,
    least: Math.max(a.least, b.least),
    most: Math.min(a.most, b.most),
  };
}

/**
 * What is in `a` and not in `b`; undefined where that cannot be said: some key beyond the named ones
 * would have to be there.
 */
export function subtractObjects(nodes: Nodes, a: ObjectSet, b: ObjectSet): ObjectSet[] | undefined {
  if (b.isNarrowed || b.required.size + b.named.size > MOST_ALTERNATIVES) return undefined;
  const left: ObjectSet[] = [];
  const add = (key: string, node: Node, required: boolean): void => {
    const named = new Map(a.named).set(key, nodes.all([nodeOfKey(a, key), node]));
    left.push({ ...a, named, required: required ? new Set([...a.required, key]) : a.required });
  };
  for (const key of b.required) if (!a.required.has(key)) add(key, NONE, false);
  for (const key of new Set([...a.named.keys(), ...b.named.keys()])) {
    const node = nodeOfKey(b, key);
    if (node !== ANY) add(key, nodes.not(node), true);
  }
  if (b.least > 0) left.push({ ...a, most: Math.min(a.most, b.least - 1) });
  if (b.most < Infinity) left.push({ ...a, least: Math.max(a.least, b.most + 1) });
  for (const { keys, node } of [...a.classes, { keys: undefined, node: a.rest }]) {
    if (node === NONE) continue;
    if (
      b.rest !== ANY ||
      b.classes.some(
        (other) => other.node !== ANY && !(keys && isEmpty(intersect(keys, other.keys))),
      )
    ) {
      return undefined;
    }
  }
  return left;
}

/** Narrows the values of keys of a pattern, beside what other patterns say of them. */
export function withClass(nodes: Nodes, classes: readonly KeyClass[], added: KeyClass): KeyClass[] {
  const result: KeyClass[] = [];
  let left: Automaton = added.keys;
  for (const { keys, node } of classes) {
    nodes.spendOn(keys, added.keys);
    push(result, intersect(keys, added.keys), nodes.all([node, added.node]));
    push(result, subtract(keys, added.keys), node);
    left = subtract(left, keys);
  }
  push(result, left, added.node);
  if (result.length > MOST_ALTERNATIVES) {
    throw new GrammarError('Patterns of keys overlap in too many ways.', {
      keyword: 'patternProperties',
    });
  }
  return result;
}

function intersectClasses(nodes: Nodes, a: ObjectSet, b: ObjectSet): readonly KeyClass[] {
  const result: KeyClass[] = [];
  if (b.classes.length === 0)
    return a.classes.map(({ keys, node }) => ({ keys, node: nodes.all([node, b.rest]) }));
  if (a.classes.length === 0) return intersectClasses(nodes, b, a);
  for (const x of a.classes) {
    for (const y of b.classes) {
      nodes.spendOn(x.keys, y.keys);
      push(result, intersect(x.keys, y.keys), nodes.all([x.node, y.node]));
    }
  }
  for (const [these, those] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const { keys, node } of these.classes) {
      const alone = those.classes.reduce((rest, other) => subtract(rest, other.keys), keys);
      push(result, alone, nodes.all([node, those.rest]));
    }
  }
  return result;
}

function push(classes: KeyClass[], keys: Automaton, node: Node): void {
  if (!isEmpty(keys)) classes.push({ keys, node });
}
