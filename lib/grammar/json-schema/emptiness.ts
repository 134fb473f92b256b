import { GrammarError } from '../../errors';
import { nodeOfItem } from './arrays';
import { Refusal, type ArraySet, type Form, type Node, type ObjectSet, type Union } from './form';
import { NONE, type Nodes } from './nodes';
import { nodeOfKey } from './objects';

const MOST_LEVELS = 6;

/** Proves that sets are empty. Where it says no, they may be all the same. */
export class Emptiness {
  readonly #nodes: Nodes;
  readonly #form: (node: Node) => Form;
  readonly #known = new Map<Node, boolean>();
  #level = 0;

  constructor(nodes: Nodes, form: (node: Node) => Form) {
    this.#nodes = nodes;
    this.#form = form;
  }

  isEmpty(node: Node): boolean {
    if (node === NONE) return true;
    const known = this.#known.get(node);
    if (known !== undefined) return known;
    if (this.#level === MOST_LEVELS) return false;
    this.#known.set(node, false);
    this.#level++;
    try {
      const form = this.#form(node);
      const result =
        !(form.null || form.true || form.false) &&
        isNothing(form.numbers) &&
        isNothing(form.strings) &&
        all(form.objects, (set) => this.isEmptyObject(set)) &&
        all(form.arrays, (set) => this.isEmptyArray(set));
      this.#known.set(node, result);
      return result;
    } catch (error) {
      // It will be thrown again, if it matters, where the node is used.
      if (!(error instanceof GrammarError)) throw error;
      return false;
    } finally {
      this.#level--;
    }
  }

  isEmptyObject(set: ObjectSet): boolean {
    if (set.isNarrowed) return false;
    if (set.least > set.most || set.required.size > set.most) return true;
    if (set.rest === NONE && set.classes.length === 0 && set.named.size < set.least) return true;
    for (const key of set.required) if (this.isEmpty(nodeOfKey(set, key))) return true;
    return false;
  }

  isEmptyArray(set: ArraySet): boolean {
    if (set.least > set.most) return true;
    const positions = Math.min(set.least, set.prefix.length + 1);
    for (let i = 0; i < positions; i++) if (this.isEmpty(nodeOfItem(set, i))) return true;
    return set.contains.some((node) =>
      [...set.prefix, set.rest].every((item) => this.isEmpty(this.#nodes.all([item, node]))),
    );
  }

  pruneObjects(union: Union<ObjectSet>): Union<ObjectSet> {
    if (union instanceof Refusal || union.length < 2) return union;
    return union.filter((set) => !this.isEmptyObject(set));
  }

  pruneArrays(union: Union<ArraySet>): Union<ArraySet> {
    if (union instanceof Refusal || union.length < 2) return union;
    return union.filter((set) => !this.isEmptyArray(set));
  }
}

function isNothing(union: Union<unknown>): boolean {
  return all(union, () => false);
}

function all<Set>(union: Union<Set>, isEmpty: (set: Set) => boolean): boolean {
  return !(union instanceof Refusal) && union.every(isEmpty);
}
