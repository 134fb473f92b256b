import type { GrammarError } from '../../errors';
import type { Automaton } from '../expression';
import type { Decimal } from './decimal';

/** A set of values, by its number in {@link Nodes}. */
export type Node = number;

/**
 * A set of JSON values, type by type: types have no value in common, so that `allOf`, `anyOf` and
 * `not` are intersection, union and complement of each type alone. Numbers, strings, objects and
 * arrays are unions of what is listed.
 */
export interface Form {
  readonly null: boolean;
  readonly true: boolean;
  readonly false: boolean;
  readonly numbers: Union<NumberSet>;
  readonly strings: Union<StringSet>;
  readonly objects: Union<ObjectSet>;
  readonly arrays: Union<ArraySet>;
}

/**
 * Of no items: nothing. Or what is not supported: an error that is thrown if no other keyword makes
 * the type impossible.
 */
export type Union<Set> = readonly Set[] | Refusal;

export class Refusal {
  constructor(readonly error: GrammarError) {}
}

/** Those of `values`, or of an interval. */
export type NumberSet = NumberValues | NumberRange;

export interface NumberValues {
  readonly values: readonly number[];
}

export interface NumberRange {
  readonly values?: undefined;
  readonly kind: 'any' | 'integer' | 'fraction';
  readonly least?: Bound | undefined;
  readonly most?: Bound | undefined;
  readonly multipleOf?: Decimal | undefined;
}

export interface Bound {
  readonly value: Decimal;
  /** The value itself is out. */
  readonly exclusive: boolean;
}

/** Those of `values`, or those in an automaton and of so many code points. */
export type StringSet = StringValues | StringPattern;

export interface StringValues {
  readonly values: ReadonlySet<string>;
}

export interface StringPattern {
  readonly values?: undefined;
  /** Absent: all. */
  readonly automaton?: Automaton | undefined;
  readonly least: number;
  readonly most: number;
}

export interface ObjectSet {
  /** In the order in which they are written. */
  readonly named: ReadonlyMap<string, Node>;
  readonly required: ReadonlySet<string>;
  /** Other keys, by patterns; no two have a key in common. */
  readonly classes: readonly KeyClass[];
  /** Keys which are neither. */
  readonly rest: Node;
  /** Nothing was said of them. */
  readonly restIsImplicit: boolean;
  /** There is a `properties`: what it does not name is out if nothing is said of it. */
  readonly hasProperties: boolean;
  /** Less than what the schema says: nothing may be concluded from what is not in it. */
  readonly isNarrowed: boolean;
  readonly least: number;
  readonly most: number;
}

export interface KeyClass {
  readonly keys: Automaton;
  readonly node: Node;
}

export interface ArraySet {
  readonly prefix: readonly Node[];
  readonly rest: Node;
  readonly least: number;
  readonly most: number;
  /** At least one item is of each of these. */
  readonly contains: readonly Node[];
  readonly unique: boolean;
}
