import { GrammarError } from '../errors';
import type { Expression, Rule } from './expression';

/** Below this the functions that walk expressions do not run out of stack. */
const DEEPEST = 1000;
const MOST_EXPRESSIONS = 8_000_000;

/** What holds of each rule, found before tables are made of them. */
export class Analysis {
  /** 1 where the empty text is of the rule. */
  readonly nullable: Uint8Array;
  /** 1 where some text is of the rule. */
  readonly productive: Uint8Array;

  /** @throws {GrammarError} for a rule that is too deep, or left-recursive, or not there */
  constructor(private readonly rules: readonly Rule[]) {
    const callers = callersOf(rules);
    this.nullable = new Uint8Array(rules.length);
    this.productive = new Uint8Array(rules.length);
    fixpoint(rules, callers, this.nullable, (expression) => this.isNullable(expression));
    fixpoint(rules, callers, this.productive, (expression) => this.isProductive(expression));
    this.refuseLeftRecursion();
  }

  isNullable(expression: Expression): boolean {
    switch (expression.type) {
      case 'text':
        return expression.text === '';
      case 'sequence':
        return expression.items.every((item) => this.isNullable(item));
      case 'choice':
        return expression.items.some((item) => this.isNullable(item));
      case 'repeat':
        if (expression.most < expression.least) return false;
        return expression.least === 0 || this.isNullable(expression.item);
      case 'rule':
        return this.nullable[expression.rule] === 1;
      case 'automaton':
        return expression.automaton.states[0]?.accepts ?? false;
      default:
        return false;
    }
  }

  isProductive(expression: Expression): boolean {
    switch (expression.type) {
      case 'nothing':
        return false;
      case 'characters':
        return expression.ranges.length > 0;
      case 'sequence':
        return expression.items.every((item) => this.isProductive(item));
      case 'choice':
        return expression.items.some((item) => this.isProductive(item));
      case 'repeat':
        if (expression.most < expression.least) return false;
        return expression.least === 0 || this.isProductive(expression.item);
      case 'rule':
        // Rules that are added later are.
        return this.productive[expression.rule] !== 0;
      case 'automaton':
        return expression.automaton.states.some((state) => state.accepts);
      default:
        return true;
    }
  }

  /** A rule that comes back to itself before it has taken a byte could go around forever. */
  private refuseLeftRecursion(): void {
    const firsts = this.rules.map(({ expression }) => {
      const found = new Set<number>();
      this.addFirsts(expression, found);
      return [...found];
    });
    const state = new Uint8Array(this.rules.length);
    for (let root = 0; root < this.rules.length; root++) {
      if (state[root] !== 0) continue;
      const path = [{ rule: root, at: 0 }];
      state[root] = 1;
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const callee = firsts[top.rule]![top.at++];
        if (callee === undefined) {
          state[top.rule] = 2;
          path.pop();
        } else if (state[callee] === 0) {
          state[callee] = 1;
          path.push({ rule: callee, at: 0 });
        } else if (state[callee] === 1) {
          const name = this.rules[callee]!.name;
          const message = `rule ${name} begins with itself: left recursion is not supported`;
          throw new GrammarError(message, { keyword: name });
        }
      }
    }
  }

  /** The rules that may come before any byte. */
  private addFirsts(expression: Expression, found: Set<number>): void {
    switch (expression.type) {
      case 'rule':
        if (this.productive[expression.rule] === 1) found.add(expression.rule);
        break;
      case 'choice':
        for (const item of expression.items) this.addFirsts(item, found);
        break;
      case 'repeat':
        if (expression.most > 0) this.addFirsts(expression.item, found);
        break;
      case 'sequence':
        if (!this.isProductive(expression)) break;
        for (const item of expression.items) {
          this.addFirsts(item, found);
          if (!this.isNullable(item)) break;
        }
    }
  }
}

/** For each rule those that have it somewhere. Looks at every expression once, without recursion. */
function callersOf(rules: readonly Rule[]): number[][] {
  const callers: number[][] = rules.map(() => []);
  let count = 0;
  rules.forEach(({ name, expression: root }, caller) => {
    const work: (readonly [Expression, number])[] = [[root, 1]];
    for (let top = work.pop(); top !== undefined; top = work.pop()) {
      const [expression, depth] = top;
      if (depth > DEEPEST) {
        throw new GrammarError(`rule ${name} is nested more than ${DEEPEST} deep`, {
          keyword: name,
        });
      }
      if (++count > MOST_EXPRESSIONS) {
        throw new GrammarError('the grammar is too large', { keyword: name });
      }
      if (expression.type === 'sequence' || expression.type === 'choice') {
        for (const item of expression.items) work.push([item, depth + 1]);
      } else if (expression.type === 'repeat') {
        work.push([expression.item, depth + 1]);
      } else if (expression.type === 'rule') {
        const list = callers[expression.rule];
        if (list === undefined) throw new GrammarError(`${name}: no such rule`, { keyword: name });
        if (list.at(-1) !== caller) list.push(caller);
      }
    }
  });
  return callers;
}

/** Sets `holds` of the rules for which `test` is true, until no more become so. */
function fixpoint(
  rules: readonly Rule[],
  callers: readonly (readonly number[])[],
  holds: Uint8Array,
  test: (expression: Expression) => boolean,
): void {
  const work = rules.map((_, rule) => rule).reverse();
  for (let rule = work.pop(); rule !== undefined; rule = work.pop()) {
    if (holds[rule] === 1 || !test(rules[rule]!.expression)) continue;
    holds[rule] = 1;
    for (const caller of callers[rule]!) if (holds[caller] === 0) work.push(caller);
  }
}
