import {
  choice,
  EMPTY,
  NOTHING,
  optional,
  repeat,
  sequence,
  text,
  type Automaton,
  type Expression,
} from '../expression';
import { accepts, complement, intersect, isEmpty, subtract } from '../automaton';
import type { Node, ObjectSet } from './form';
import type { Layout } from './layout';
import { NONE, type Nodes } from './nodes';
import { nodeOfKey } from './objects';
import { keyText } from './string-text';
import { textAutomaton } from './strings';

/** What writing a container needs of the whole. */
export interface Writer {
  readonly layout: Layout;
  readonly isEmpty: (node: Node) => boolean;
  /** A value of a node, one level deeper. */
  readonly value: (node: Node) => Expression;
  readonly nodes: Nodes;
  readonly rule: (name: string, make: () => Expression) => Expression;
}

const MOST_RULES = 4_000;
/** A state of keys takes as much as looking at so many: it may need states for escapes. */
const SPELLING_WORK = 200;

interface Member {
  readonly expression: Expression;
  readonly isRequired: boolean;
}

/**
 * Objects of a set: named properties in their order, others after them. Undefined where counts ask
 * for too much.
 * @param openObjects whether what `properties` does not name may be there
 */
export function objectText(
  set: ObjectSet,
  openObjects: boolean,
  writer: Writer,
): Expression | undefined {
  const { layout } = writer;
  const members: Member[] = [];
  for (const key of new Set([...set.named.keys(), ...set.required])) {
    const node = nodeOfKey(set, key);
    const isRequired = set.required.has(key);
    if (writer.isEmpty(node)) {
      if (isRequired) return NOTHING;
      continue;
    }
    members.push({
      expression: sequence(text(JSON.stringify(key)), layout.colon, writer.value(node)),
      isRequired,
    });
  }
  const required = members.filter(({ isRequired }) => isRequired).length;
  const extra = extraMember(set, openObjects, writer);
  const most = extra === undefined ? Math.min(set.most, members.length) : set.most;
  // Keys beyond the named ones may be written twice, so that more than one cannot be counted.
  if (required > most || set.least > most) return NOTHING;
  const least = set.least <= required ? 0 : set.least;
  if (least > members.length + 1) return undefined;
  const isCounted = least > 0 || most < (extra === undefined ? members.length : Infinity);
  const body = isCounted
    ? countedMembers(members, extra, least, most, writer)
    : freeMembers(members, extra, writer);
  if (body === undefined) return undefined;
  const full = sequence(layout.open, body, layout.close);
  return sequence(text('{'), required > 0 || least > 0 ? full : optional(full), text('}'));
}

/** At least one member, in any number. */
function freeMembers(
  members: readonly Member[],
  extra: Expression | undefined,
  { layout, rule }: Writer,
): Expression {
  const after = ({ expression, isRequired }: Member): Expression => {
    const item = sequence(layout.comma, expression);
    return isRequired ? item : optional(item);
  };
  const end = extra === undefined ? EMPTY : repeat(sequence(layout.comma, extra), 0);
  const firstRequired = members.findIndex(({ isRequired }) => isRequired);
  const starts = firstRequired === -1 ? members.length : firstRequired + 1;
  if (firstRequired === 0)
    return sequence(members[0]!.expression, ...members.slice(1).map(after), end);
  // After each member that may come first, what may follow: rules that go on with one another.
  let rest = rule('members', () => sequence(...members.slice(starts).map(after), end));
  const items: Expression[] = [];
  if (firstRequired === -1 && extra !== undefined) items.push(sequence(extra, end));
  for (let i = starts - 1; i >= 0; i--) {
    items.push(sequence(members[i]!.expression, rest));
    const next = rest;
    if (i > 0) rest = rule('members', () => sequence(after(members[i]!), next));
  }
  return choice(...items.reverse());
}

/** At least one member, and from `least` to `most`. */
function countedMembers(
  members: readonly Member[],
  extra: Expression | undefined,
  least: number,
  most: number,
  { layout, rule }: Writer,
): Expression | undefined {
  const limit = Math.max(1, most === Infinity ? least : most);
  const cap = Math.min(limit, members.length + 1);
  if (members.length * cap > MOST_RULES) return undefined;
  const known = new Map<number, Expression>();
  // What may follow when `count` members are written and `i` is the next.
  const from = (i: number, count: number): Expression => {
    if (count > most) return NOTHING;
    const name = i * (cap + 1) + Math.min(count, cap);
    const found = known.get(name);
    if (found !== undefined) return found;
    const before = count === 0 ? EMPTY : layout.comma;
    let made: Expression;
    if (i === members.length) {
      made = rest(count);
    } else {
      const { expression, isRequired } = members[i]!;
      const taken = sequence(before, expression, from(i + 1, count + 1));
      const body = isRequired ? taken : choice(taken, from(i + 1, count));
      made = rule('members', () => body);
    }
    known.set(name, made);
    return made;
  };
  const rest = (count: number): Expression => {
    const [fewest, largest] = [Math.max(0, least - count), most - count];
    if (extra === undefined) return fewest > 0 || count === 0 ? NOTHING : EMPTY;
    if (fewest > 1) return NOTHING;
    if (count > 0) return repeat(sequence(layout.comma, extra), fewest, largest);
    return largest < 1
      ? NOTHING
      : sequence(extra, repeat(sequence(layout.comma, extra), 0, largest - 1));
  };
  return from(0, 0);
}

/** A member that is not named; undefined if there is none. */
function extraMember(
  set: ObjectSet,
  openObjects: boolean,
  { layout, isEmpty: isEmptyNode, value, nodes }: Writer,
): Expression | undefined {
  const isClosed = !openObjects && set.restIsImplicit && set.hasProperties;
  const names = [...new Set([...set.named.keys(), ...set.required])];
  nodes.spend(names.reduce((sum, name) => sum + name.length, 0));
  const items: Expression[] = [];
  const add = (keys: Automaton | undefined, node: Node): void => {
    if (keys !== undefined) {
      if (isEmpty(keys)) return;
      nodes.spend(SPELLING_WORK * keys.states.length);
    }
    items.push(sequence(keyText(keys), layout.colon, value(node)));
  };
  for (const { keys, node } of set.classes) {
    if (isEmptyNode(node)) continue;
    const own = names.filter((name) => accepts(keys, name));
    const automaton = own.length === 0 ? undefined : textAutomaton(own);
    nodes.spendOn(keys, automaton);
    add(automaton === undefined ? keys : subtract(keys, automaton), node);
  }
  if (!isClosed && set.rest !== NONE && !isEmptyNode(set.rest)) {
    let left = names.length === 0 ? undefined : complement(textAutomaton(names));
    for (const { keys } of set.classes) {
      nodes.spendOn(keys, left);
      left = left === undefined ? complement(keys) : intersect(left, complement(keys));
    }
    add(left, set.rest);
  }
  return items.length === 0 ? undefined : choice(...items);
}
