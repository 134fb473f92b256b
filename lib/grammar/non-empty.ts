import { GrammarError } from '../errors';
import type { Analysis } from './analysis';
import {
  type Automaton,
  type AutomatonEdge,
  type Expression,
  NOTHING,
  type Rule,
} from './expression';

const DEEPEST = 1000;

/**
 * Takes the empty text away from expressions, so that a repetition takes something each time:
 * `(a?){3,9}` is `(a){0,9}`. Rules that have the empty text get a twin without it.
 */
export class NonEmpty {
  private readonly twins = new Map<number, Expression>();
  private depth = 0;

  /** @param rules where the twins are added */
  constructor(
    private readonly rules: Rule[],
    private readonly analysis: Analysis,
  ) {}

  of(expression: Expression): Expression {
    if (!this.analysis.isNullable(expression)) return expression;
    switch (expression.type) {
      case 'choice':
        return { type: 'choice', items: expression.items.map((item) => this.of(item)) };
      case 'sequence':
        return this.ofSequence(expression.items);
      case 'repeat':
        if (expression.most === 0) return NOTHING;
        return {
          type: 'repeat',
          item: this.of(expression.item),
          least: 1,
          most: expression.most,
        };
      case 'rule':
        return this.ofRule(expression.rule);
      case 'automaton':
        if (expression.automaton.states[0]!.edges.length === 0) return NOTHING;
        return { type: 'automaton', automaton: withoutEmpty(expression.automaton) };
      default:
        return NOTHING;
    }
  }

  /** Every item has the empty text. Either some of the first half is there, or some of the rest. */
  private ofSequence(items: readonly Expression[]): Expression {
    if (items.length === 0) return NOTHING;
    if (items.length === 1) return this.of(items[0]!);
    const first = items.slice(0, items.length >> 1);
    const rest = items.slice(items.length >> 1);
    const some: Expression = { type: 'sequence', items: [this.ofSequence(first), ...rest] };
    return { type: 'choice', items: [some, this.ofSequence(rest)] };
  }

  /** Ends, since no rule is left-recursive. */
  private ofRule(rule: number): Expression {
    const known = this.twins.get(rule);
    if (known !== undefined) return known;
    const { name, expression } = this.rules[rule]!;
    if (++this.depth > DEEPEST) {
      throw new GrammarError(`rule ${name} is nested too deep`, { keyword: name });
    }
    const body = this.of(expression);
    this.depth--;
    let twin: Expression = NOTHING;
    if (this.analysis.isProductive(body)) {
      twin = { type: 'rule', rule: this.rules.length };
      this.rules.push({ name, expression: body });
    }
    this.twins.set(rule, twin);
    return twin;
  }
}

/** The first state becomes one to which nothing comes back; the old one goes to the end. */
function withoutEmpty({ states }: Automaton): Automaton {
  const old = states.length;
  const moved = states.map(({ accepts, edges }) => ({
    accepts,
    edges: edges.map(([first, last, to]): AutomatonEdge => [first, last, to === 0 ? old : to]),
  }));
  const start = moved[0]!;
  return { states: [{ accepts: false, edges: start.edges }, ...moved.slice(1), start] };
}
