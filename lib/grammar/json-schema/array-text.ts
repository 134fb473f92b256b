import {
  choice,
  EMPTY,
  NOTHING,
  optional,
  repeat,
  sequence,
  text,
  type Expression,
} from '../expression';
import { nodeOfItem } from './arrays';
import type { ArraySet, Node } from './form';
import type { Writer } from './object-text';

/** Arrays of a set; undefined where that is not supported. */
export function arrayText(set: ArraySet, writer: Writer): Expression | undefined {
  if (set.contains.length > 0) return containing(set, writer);
  const { layout } = writer;
  const { least, most } = lengths(set, writer);
  if (least > most) return NOTHING;
  if (set.unique && most > 1) return undefined;
  if (most === 0) return text('[]');
  const full = sequence(layout.open, items(set, Math.max(1, least), most, writer), layout.close);
  return sequence(text('['), least > 0 ? full : optional(full), text(']'));
}

/** Counts as they are where items of some positions are impossible. */
function lengths(set: ArraySet, writer: Writer): { least: number; most: number } {
  let most = set.most;
  for (let i = 0; i <= set.prefix.length && i < most; i++) {
    if (writer.isEmpty(nodeOfItem(set, i))) most = i;
  }
  return { least: set.least, most };
}

/** From `least` items, which is at least 1, to `most`. */
function items(
  set: ArraySet,
  least: number,
  most: number,
  { layout, value, rule }: Writer,
): Expression {
  const positions = Math.min(set.prefix.length, most);
  const after = Math.max(positions, 1);
  let rest: Expression = EMPTY;
  if (most > after) {
    rest = repeat(
      sequence(layout.comma, value(set.rest)),
      Math.max(0, least - after),
      most - after,
    );
  }
  // Those that may be missing are rules, each in the one before it.
  for (let i = after - 1; i >= Math.max(1, least); i--) {
    const tail = sequence(layout.comma, value(nodeOfItem(set, i)), rest);
    rest = optional(rule('items', () => tail));
  }
  const needed: Expression[] = [];
  for (let i = 1; i < Math.min(least, after); i++)
    needed.push(layout.comma, value(nodeOfItem(set, i)));
  return sequence(value(nodeOfItem(set, 0)), ...needed, rest);
}

/** Beyond which `contains` is not written out. */
const MOST_POSITIONS = 16;

/** Some item is of a node: the first such one, with any items before and after it. */
function containing(set: ArraySet, writer: Writer): Expression | undefined {
  const [wanted, second] = set.contains;
  if (
    set.prefix.length > MOST_POSITIONS ||
    second !== undefined ||
    set.unique ||
    set.most < Infinity ||
    set.least > 1 ||
    wanted === undefined
  )
    return undefined;
  const { layout, value, nodes } = writer;
  const choices: Expression[] = [];
  const found = (item: Node): Expression => value(nodes.all([item, wanted]));
  const before: Expression[] = [];
  for (let i = 0; i < set.prefix.length; i++) {
    const comma = i === 0 ? EMPTY : layout.comma;
    const others = items({ ...set, prefix: set.prefix.slice(i + 1) }, 1, Infinity, writer);
    const item = set.prefix[i]!;
    choices.push(sequence(...before, comma, found(item), optional(sequence(layout.comma, others))));
    before.push(comma, value(item));
  }
  const separated = before.length === 0 ? EMPTY : layout.comma;
  const other = value(set.rest);
  const tail = repeat(sequence(layout.comma, other), 0);
  choices.push(
    sequence(...before, separated, repeat(sequence(other, layout.comma), 0), found(set.rest), tail),
  );
  return sequence(text('['), layout.open, choice(...choices), layout.close, text(']'));
}
