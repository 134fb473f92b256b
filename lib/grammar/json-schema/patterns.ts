import { GrammarError } from '../../errors';
import { accepts, intersect, isEmpty, subtract, toAutomaton } from '../automaton';
import type { Automaton } from '../expression';
import { parseRegex } from '../regex';
import type { Document } from './document';
import type { Node, ObjectSet } from './form';
import { escapePointer, type Json, type JsonObject } from './json';
import { NONE, type Nodes } from './nodes';

/** Making a state of a pattern takes as much as looking at so many. */
const PATTERN_WORK = 15;

/** Patterns of a schema, each made an automaton once. */
export class Patterns {
  readonly #known = new Map<string, Automaton>();
  readonly #document: Document;
  readonly #nodes: Nodes;

  constructor(document: Document, nodes: Nodes) {
    this.#document = document;
    this.#nodes = nodes;
  }

  read(schema: JsonObject, keyword: string, source: Json): Automaton {
    if (typeof source !== 'string')
      throw this.#document.error(schema, keyword, 'A pattern must be a string.');
    let automaton = this.#known.get(source);
    if (automaton === undefined) {
      try {
        automaton = toAutomaton(parseRegex(source), { anchored: false });
      } catch (error) {
        if (!(error instanceof GrammarError)) throw error;
        const below = keyword === 'pattern' ? '' : `/${escapePointer(source)}`;
        const pointer = `${this.#document.pointerOf(schema)}/${keyword}${below}`;
        throw new GrammarError(`${error.message} ("${keyword}" at "${pointer}")`, {
          pointer,
          keyword,
        });
      }
      this.#nodes.spend(PATTERN_WORK * automaton.states.length);
      this.#known.set(source, automaton);
    }
    return automaton;
  }

  /** Those objects of a set of which all keys are in an automaton. */
  restrictNames(set: ObjectSet, allowed: Automaton): ObjectSet {
    const named = new Map<string, Node>();
    for (const [key, node] of set.named) named.set(key, accepts(allowed, key) ? node : NONE);
    const classes = set.classes.map(({ keys, node }) => ({ keys: intersect(keys, allowed), node }));
    const rest = set.classes.reduce((left, { keys }) => subtract(left, keys), allowed);
    return {
      ...set,
      named,
      classes: [...classes, { keys: rest, node: set.rest }].filter(({ keys }) => !isEmpty(keys)),
      rest: NONE,
      restIsImplicit: false,
    };
  }
}
