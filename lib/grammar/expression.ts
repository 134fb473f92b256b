/**
 * A language of texts, as a tree. JSON Schema, regular expressions, choices and GBNF become this
 * form, and `network.ts` makes of it the tables that native matches by.
 */
export type Expression =
  /** No text at all: what the schema `false` allows. */
  | { readonly type: 'nothing' }
  | { readonly type: 'text'; readonly text: string }
  /** One character: code points of any of the ranges, both ends included, without surrogates. */
  | { readonly type: 'characters'; readonly ranges: readonly CharacterRange[] }
  /** Of no items: the empty text. */
  | { readonly type: 'sequence'; readonly items: readonly Expression[] }
  /** Of no items: nothing. */
  | { readonly type: 'choice'; readonly items: readonly Expression[] }
  /** `most` may be Infinity. Both are counted by native, so that large ones cost nothing. */
  | {
      readonly type: 'repeat';
      readonly item: Expression;
      readonly least: number;
      readonly most: number;
    }
  /** Another rule of the grammar, by its index; recursion is by these. */
  | { readonly type: 'rule'; readonly rule: number }
  | { readonly type: 'automaton'; readonly automaton: Automaton }
  /** One token by its id, whatever its bytes: control tokens, which have no text. */
  | { readonly type: 'token'; readonly id: number };

export type CharacterRange = readonly [first: number, last: number];

/** A deterministic automaton over code points. It starts in state 0. */
export interface Automaton {
  readonly states: readonly AutomatonState[];
}

export interface AutomatonState {
  readonly accepts: boolean;
  /** Sorted, disjoint. What no range has is not accepted. */
  readonly edges: readonly AutomatonEdge[];
}

export type AutomatonEdge = readonly [first: number, last: number, to: number];

export interface Rule {
  /** For messages. */
  readonly name: string;
  readonly expression: Expression;
}

/** Rules; the text is of the first. */
export interface RuleSet {
  readonly rules: readonly Rule[];
}

export const NOTHING: Expression = { type: 'nothing' };
export const EMPTY: Expression = { type: 'sequence', items: [] };

export function text(value: string): Expression {
  return { type: 'text', text: value };
}

export function characters(...ranges: readonly CharacterRange[]): Expression {
  return { type: 'characters', ranges };
}

export function sequence(...items: readonly Expression[]): Expression {
  return items.length === 1 ? items[0]! : { type: 'sequence', items };
}

export function choice(...items: readonly Expression[]): Expression {
  return items.length === 1 ? items[0]! : { type: 'choice', items };
}

export function repeat(item: Expression, least: number, most = Infinity): Expression {
  return { type: 'repeat', item, least, most };
}

export function optional(item: Expression): Expression {
  return { type: 'repeat', item, least: 0, most: 1 };
}
