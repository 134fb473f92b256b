import {
  choice,
  EMPTY,
  NOTHING,
  repeat,
  sequence,
  type Expression,
  type Rule,
  type RuleSet,
} from '../expression';

/** What takes more, which only cycles within cycles do, is taken for rules that have no text. */
const MOST_PASSES = 32;

/**
 * Rules without what no text ever ends: of `{ value: T } where T is again such an object` there is
 * none. What refers to it goes with it; rules that are not reached go too.
 */
export function productive(rules: readonly Rule[]): RuleSet {
  const ends = new Set<number>();
  const order = calleesFirst(rules);
  let grown = true;
  for (let pass = 0; grown && pass < MOST_PASSES; pass++) {
    grown = false;
    for (const i of order) {
      if (!ends.has(i) && hasText(rules[i]!.expression, ends)) {
        ends.add(i);
        grown = true;
      }
    }
  }
  // Rules that are the same to the object, as all free strings are, become one.
  const numbers = new Map<Expression, number>([[rules[0]!.expression, 0]]);
  const reached = [0];
  const number = (rule: number): number => {
    const { expression } = rules[rule]!;
    let found = numbers.get(expression);
    if (found === undefined) {
      found = reached.push(rule) - 1;
      numbers.set(expression, found);
    }
    return found;
  };
  const result: Rule[] = [];
  for (let i = 0; i < reached.length; i++) {
    const { name, expression } = rules[reached[i]!]!;
    result.push({ name, expression: simplified(expression, ends, number) });
  }
  return { rules: result };
}

/** The rules that the first one reaches, those that a rule refers to before it but for cycles. */
function calleesFirst(rules: readonly Rule[]): number[] {
  const order: number[] = [];
  const seen = new Set([0]);
  const open = [{ rule: 0, callees: calleesOf(rules[0]!.expression), next: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const callee = top.callees[top.next++];
    if (callee === undefined) {
      order.push(top.rule);
      open.pop();
    } else if (!seen.has(callee)) {
      seen.add(callee);
      open.push({ rule: callee, callees: calleesOf(rules[callee]!.expression), next: 0 });
    }
  }
  return order;
}

function calleesOf(expression: Expression, found: number[] = []): number[] {
  if (expression.type === 'rule') found.push(expression.rule);
  else if (expression.type === 'repeat') calleesOf(expression.item, found);
  else if (expression.type === 'sequence' || expression.type === 'choice') {
    for (const item of expression.items) calleesOf(item, found);
  }
  return found;
}

function hasText(expression: Expression, ends: ReadonlySet<number>): boolean {
  switch (expression.type) {
    case 'nothing':
      return false;
    case 'sequence':
      return expression.items.every((item) => hasText(item, ends));
    case 'choice':
      return expression.items.some((item) => hasText(item, ends));
    case 'repeat':
      return expression.least === 0 || hasText(expression.item, ends);
    case 'rule':
      return ends.has(expression.rule);
    case 'characters':
      return expression.ranges.length > 0;
    default:
      return true;
  }
}

function simplified(
  expression: Expression,
  ends: ReadonlySet<number>,
  number: (rule: number) => number,
): Expression {
  const inner = (item: Expression): Expression => simplified(item, ends, number);
  switch (expression.type) {
    case 'sequence':
      if (!hasText(expression, ends)) return NOTHING;
      return sequence(...expression.items.filter((item) => item !== EMPTY).map(inner));
    case 'choice':
      return choice(...expression.items.filter((item) => hasText(item, ends)).map(inner));
    case 'repeat':
      if (!hasText(expression.item, ends)) return expression.least === 0 ? EMPTY : NOTHING;
      return repeat(inner(expression.item), expression.least, expression.most);
    case 'rule':
      return ends.has(expression.rule) ? { type: 'rule', rule: number(expression.rule) } : NOTHING;
    default:
      return expression;
  }
}
