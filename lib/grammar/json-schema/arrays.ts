import type { ArraySet, Node } from './form';
import { ANY, MOST_ALTERNATIVES, NONE, type Nodes } from './nodes';

export const ANY_ARRAY: ArraySet = {
  prefix: [],
  rest: ANY,
  least: 0,
  most: Infinity,
  contains: [],
  unique: false,
};

export function nodeOfItem(set: ArraySet, index: number): Node {
  return set.prefix[index] ?? set.rest;
}

/** What is in both, which may turn out to be nothing. */
export function intersectArrays(nodes: Nodes, a: ArraySet, b: ArraySet): ArraySet {
  const prefix: Node[] = [];
  for (let i = 0; i < Math.max(a.prefix.length, b.prefix.length); i++) {
    prefix.push(nodes.all([nodeOfItem(a, i), nodeOfItem(b, i)]));
  }
  return {
    prefix,
    rest: nodes.all([a.rest, b.rest]),
    least: Math.max(a.least, b.least),
    most: Math.min(a.most, b.most),
    contains: [...new Set([...a.contains, ...b.contains])],
    unique: a.unique || b.unique,
  };
}

/** What is in `a` and not in `b`; undefined where that cannot be said. */
export function subtractArrays(nodes: Nodes, a: ArraySet, b: ArraySet): ArraySet[] | undefined {
  if (b.unique && !(a.unique || a.most <= 1)) return undefined;
  const positions = Math.max(a.prefix.length, b.prefix.length);
  if (positions > MOST_ALTERNATIVES) return undefined;
  const left: ArraySet[] = [];
  const add = (index: number, node: Node): void => {
    const prefix = Array.from({ length: Math.max(index + 1, a.prefix.length) }, (_, i) =>
      nodeOfItem(a, i),
    );
    prefix[index] = nodes.all([prefix[index]!, node]);
    left.push({ ...a, prefix, least: Math.max(a.least, index + 1) });
  };
  // Positions which both say one by one; of those after them, that some item is no such one.
  for (let i = 0; i < positions; i++) {
    const node = nodeOfItem(b, i);
    if (node !== ANY) add(i, nodes.not(node));
  }
  if (b.rest === NONE) left.push({ ...a, least: Math.max(a.least, positions + 1) });
  else if (b.rest !== ANY && a.rest !== NONE && a.most > positions) {
    if (positions > 0) return undefined;
    left.push({ ...a, contains: [...a.contains, nodes.not(b.rest)] });
  }
  if (b.least > 0) left.push({ ...a, most: Math.min(a.most, b.least - 1) });
  if (b.most < Infinity) left.push({ ...a, least: Math.max(a.least, b.most + 1) });
  for (const node of b.contains) {
    const not = nodes.not(node);
    const prefix = a.prefix.map((item) => nodes.all([item, not]));
    left.push({ ...a, prefix, rest: nodes.all([a.rest, not]) });
  }
  return left;
}
