import { GrammarError } from '../../errors';
import type { Automaton } from '../expression';
import { madeEdges } from '../minimize';
import type { Node } from './form';
import { canonical, type Json, type JsonObject } from './json';

/** What a node is made of. Schemas that refer to each other are no trouble: nodes are numbers. */
export type Parts =
  | { readonly kind: 'any' }
  | { readonly kind: 'none' }
  | { readonly kind: 'schema'; readonly schema: JsonObject }
  | { readonly kind: 'value'; readonly value: Json }
  | { readonly kind: 'all'; readonly of: readonly Node[] }
  | { readonly kind: 'not'; readonly of: Node };

export const ANY: Node = 0;
export const NONE: Node = 1;
const MOST_NODES = 50_000;
const MOST_WORK = 1_000_000;
/** Of all automata, some 20 MB. */
const MOST_EDGES = 300_000;
/** Alternatives of one type. */
export const MOST_ALTERNATIVES = 256;

/** Sets of values, each made of schemas of the document; what is made alike has the same number. */
export class Nodes {
  readonly #parts: Parts[] = [{ kind: 'any' }, { kind: 'none' }];
  readonly #schemas = new Map<JsonObject, Node>();
  readonly #known = new Map<string, Node>();
  #work = MOST_WORK;
  /** Schemas are read one at a time. */
  readonly #edgesBefore = madeEdges();

  /**
   * Counts what combining schemas takes, in names, items and states that are looked at.
   * @throws GrammarError when it is too much: a small schema may combine to a very large one
   */
  spend(work: number): void {
    this.#work -= work;
    if (this.#work < 0 || madeEdges() - this.#edgesBefore > MOST_EDGES) {
      throw new GrammarError('The schema combines to too much.', { keyword: 'allOf' });
    }
  }

  /** Counts what an intersection of automata may take. */
  spendOn(a: Automaton | undefined, b: Automaton | undefined): void {
    const [m, n] = [a?.states.length ?? 0, b?.states.length ?? 0];
    this.spend(m + n + Math.ceil((m * n) / 16));
  }

  parts(node: Node): Parts {
    return this.#parts[node]!;
  }

  schema(schema: Json): Node {
    if (schema === true) return ANY;
    if (schema === false) return NONE;
    const object = schema as JsonObject;
    let node = this.#schemas.get(object);
    if (node === undefined) {
      node = object.size === 0 ? ANY : this.#add({ kind: 'schema', schema: object });
      this.#schemas.set(object, node);
    }
    return node;
  }

  value(value: Json): Node {
    return this.#find(`v${canonical(value)}`, { kind: 'value', value });
  }

  all(nodes: readonly Node[]): Node {
    const of = new Set<Node>();
    for (const node of nodes) {
      const parts = this.parts(node);
      for (const part of parts.kind === 'all' ? parts.of : [node]) of.add(part);
    }
    of.delete(ANY);
    if (of.has(NONE)) return NONE;
    if (of.size <= 1) return [...of][0] ?? ANY;
    const sorted = [...of].sort((a, b) => a - b);
    return this.#find(`a${sorted.join()}`, { kind: 'all', of: sorted });
  }

  not(node: Node): Node {
    if (node === ANY) return NONE;
    if (node === NONE) return ANY;
    const parts = this.parts(node);
    return parts.kind === 'not' ? parts.of : this.#find(`n${node}`, { kind: 'not', of: node });
  }

  #find(name: string, parts: Parts): Node {
    let node = this.#known.get(name);
    if (node === undefined) {
      node = this.#add(parts);
      this.#known.set(name, node);
    }
    return node;
  }

  #add(parts: Parts): Node {
    if (this.#parts.length === MOST_NODES) {
      throw new GrammarError(`The schema combines to more than ${MOST_NODES} parts.`, {
        keyword: 'allOf',
      });
    }
    return this.#parts.push(parts) - 1;
  }
}
