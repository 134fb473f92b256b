import { GrammarError } from '../errors';
import { Analysis } from './analysis';
import type { Automaton, CharacterRange, Expression, Rule, RuleSet } from './expression';
import { minimize } from './minimize';
import { type Network, Op } from './network';
import { NonEmpty } from './non-empty';
import { normalize } from './ranges';
import { Tables } from './tables';
import { type Branch, addTrie, headOf } from './trie';
import { encodeCharacters } from './utf8';

/** Repetitions of no more nodes than this are spelled out: a counter costs native more. */
const UNROLLED = 24;
/** Rules of no more nodes than this are put where they are called. */
const INLINED = 8;
const INT32_MAX = 2 ** 31 - 1;

/** What an expression becomes that no text has. */
const DEAD = -1;

/** Makes tables of expressions from their ends: each is made where it is known what comes next. */
export class NetworkBuilder {
  private readonly tables = new Tables();
  private readonly rules: Rule[];
  private readonly analysis: Analysis;
  private readonly nonEmpty: NonEmpty;
  /** [rules]; the first node, -1 for those not made yet. */
  private readonly entries: number[] = [];
  private readonly wanted: number[] = [];
  private readonly calls: number[] = [];
  private readonly sizes = new Map<number, number>();
  private readonly beyondAscii = new Map<string, readonly number[]>();
  private readonly end: number;

  private readonly addBytes = (first: number, last: number, next: number): number =>
    this.tables.add(Op.BYTES, first, last, next);

  private readonly addSplit = (nodes: readonly number[]): number =>
    nodes.length === 1
      ? nodes[0]!
      : this.tables.add(Op.SPLIT, this.tables.addEdges(nodes), nodes.length, 0);

  constructor({ rules }: RuleSet) {
    this.rules = [...rules];
    this.analysis = new Analysis(rules);
    this.nonEmpty = new NonEmpty(this.rules, this.analysis);
    // Texts start at node 0, which is copied from the first rule's when that is known.
    this.tables.add(Op.END, 0, 0, 0);
    this.end = this.tables.add(Op.END, 0, 0, 0);
  }

  build(): Network {
    this.want(0);
    for (let rule = this.wanted.pop(); rule !== undefined; rule = this.wanted.pop()) {
      const entry = this.add(this.rules[rule]!.expression, this.end);
      this.entries[rule] = entry === DEAD ? this.addSplit([]) : entry;
    }
    for (const call of this.calls) {
      this.tables.setA(call, this.entries[this.tables.a(call)]!);
    }
    this.tables.copy(this.entries[0]!, 0);
    return this.tables.finish();
  }

  private want(rule: number): void {
    if (this.entries[rule] !== undefined) return;
    this.entries[rule] = DEAD;
    this.wanted.push(rule);
  }

  /** @returns the node from which `expression` and then what `next` begins are taken; or DEAD */
  private add(expression: Expression, next: number): number {
    switch (expression.type) {
      case 'nothing':
        return DEAD;
      case 'text':
        return this.addText(expression.text, next);
      case 'characters':
        return this.addCharacters(expression.ranges, next);
      case 'sequence': {
        let node = next;
        for (let i = expression.items.length - 1; i >= 0 && node !== DEAD; i--) {
          node = this.add(expression.items[i]!, node);
        }
        return node;
      }
      case 'choice':
        return this.addChoice(expression.items, next);
      case 'repeat':
        return this.addRepeat(expression.item, expression.least, expression.most, next);
      case 'rule':
        return this.addCall(expression, next);
      case 'automaton':
        return this.addAutomaton(expression.automaton, next);
      case 'token':
        return this.tables.add(Op.TOKEN, expression.id, 0, next);
    }
  }

  private addText(text: string, next: number): number {
    if (/\p{Surrogate}/u.test(text)) {
      const message = `${JSON.stringify(text)} has half of a surrogate pair: no text in UTF-8 has`;
      throw new GrammarError(message, { keyword: 'text' });
    }
    const bytes = Buffer.from(text);
    let node = next;
    for (let i = bytes.length - 1; i >= 0; i--) node = this.addBytes(bytes[i]!, bytes[i]!, node);
    return node;
  }

  private addCharacters(ranges: readonly CharacterRange[], next: number): number {
    const nodes = this.characterNodes(normalize(ranges), next);
    return nodes.length === 0 ? DEAD : this.addSplit(nodes);
  }

  /**
   * What takes one of these characters and goes on at `next`. What is beyond ASCII is often the same
   * from many states, as all of it is from each state of a set of keys: it is made once.
   */
  private characterNodes(ranges: readonly CharacterRange[], next: number): number[] {
    const split = ranges.findIndex(([, last]) => last >= 0x80);
    if (split < 0) return ranges.map(([first, last]) => this.addBytes(first, last, next));
    const nodes = ranges.slice(0, split).map(([first, last]) => this.addBytes(first, last, next));
    const [first, last] = ranges[split]!;
    if (first < 0x80) nodes.push(this.addBytes(first, 0x7f, next));
    const rest = [[Math.max(first, 0x80), last] as const, ...ranges.slice(split + 1)];
    const key = `${next}:${rest.join(';')}`;
    let beyond = this.beyondAscii.get(key);
    if (beyond === undefined) {
      beyond = encodeCharacters(rest, next, this.addBytes, this.addSplit);
      this.beyondAscii.set(key, beyond);
    }
    nodes.push(...beyond);
    return nodes;
  }

  /** What begins with literal text goes into one trie, single characters into one set. */
  private addChoice(items: readonly Expression[], next: number): number {
    const nodes = new Set<number>();
    const branches: Branch[] = [];
    const ranges: CharacterRange[] = [];
    for (const unresolved of items) {
      const item = this.inlined(unresolved);
      const head = item.type === 'characters' ? undefined : headOf(item);
      if (item.type === 'characters') {
        for (const range of item.ranges) ranges.push(range);
      } else if (head === undefined) {
        const node = this.add(item, next);
        if (node !== DEAD) nodes.add(node);
      } else {
        branches.push(head);
      }
    }
    if (ranges.length > 0) {
      for (const node of this.characterNodes(normalize(ranges), next)) nodes.add(node);
    }
    const leaf = (rest: Expression): number => this.add(rest, next);
    for (const node of addTrie(branches, leaf, this.addBytes, this.addSplit)) nodes.add(node);
    return nodes.size === 0 ? DEAD : this.addSplit([...nodes]);
  }

  private addRepeat(item: Expression, least: number, most: number, next: number): number {
    if (most < least) return DEAD;
    if (most === 0) return next;
    if (least === 1 && most === 1) return this.add(item, next);
    if (!this.analysis.isProductive(item)) return least === 0 ? next : DEAD;
    if (this.analysis.isNullable(item)) {
      return this.addRepeat(this.nonEmpty.of(item), 0, most, next);
    }
    if (least === 0 && most === Infinity) return this.addLoop(item, next);
    if (least > INT32_MAX || (most > INT32_MAX && most !== Infinity)) {
      throw new GrammarError('a repetition counts too far', { keyword: 'repetition' });
    }
    const copies = most === Infinity ? least : most;
    if (most === 1 || copies * this.size(item, UNROLLED) <= UNROLLED) {
      let node = most === Infinity ? this.addLoop(item, next) : next;
      for (let i = least; i < most && most !== Infinity; i++) {
        const taken = this.add(item, node);
        if (taken === DEAD) break;
        node = this.addSplit([taken, next]);
      }
      for (let i = 0; i < least && node !== DEAD; i++) node = this.add(item, node);
      return node;
    }
    const body = this.add(item, this.end);
    if (body === DEAD) return least === 0 ? next : DEAD;
    const node = this.tables.add(Op.REPEAT, body, least, next);
    this.tables.setMost(node, most === Infinity ? -1 : most);
    return node;
  }

  private addLoop(item: Expression, next: number): number {
    const node = this.tables.add(Op.SPLIT, 0, 0, 0);
    const body = this.add(item, node);
    const targets = body === DEAD ? [next] : [body, next];
    this.tables.set(node, Op.SPLIT, this.tables.addEdges(targets), targets.length, 0);
    return node;
  }

  private addCall(call: Expression & { type: 'rule' }, next: number): number {
    if (!this.analysis.isProductive(call)) return DEAD;
    const expression = this.inlined(call);
    if (expression.type !== 'rule') return this.add(expression, next);
    this.want(expression.rule);
    const node = this.tables.add(Op.CALL, expression.rule, 0, next);
    this.calls.push(node);
    return node;
  }

  private addAutomaton(automaton: Automaton, next: number): number {
    const hasStops = automaton.states.some((state) => !state.accepts && state.edges.length === 0);
    const { states } = hasStops ? minimize(automaton) : automaton;
    if (states.length === 1 && !states[0]!.accepts) return DEAD;
    const first = this.tables.count;
    for (let i = 0; i < states.length; i++) this.tables.add(Op.SPLIT, 0, 0, 0);
    states.forEach(({ accepts, edges }, state) => {
      const rangesTo = new Map<number, CharacterRange[]>();
      for (const [from, to, target] of edges) {
        const ranges = rangesTo.get(target);
        if (ranges === undefined) rangesTo.set(target, [[from, to]]);
        else ranges.push([from, to]);
      }
      const targets = accepts ? [next] : [];
      for (const [target, ranges] of rangesTo) {
        const known = normalize(ranges);
        targets.push(...this.characterNodes(known, first + target));
      }
      const edgesAt = this.tables.addEdges(targets);
      this.tables.set(first + state, Op.SPLIT, edgesAt, targets.length, 0);
    });
    return first;
  }

  /** What a small rule stands for, else `expression` itself. */
  private inlined(expression: Expression): Expression {
    let found = expression;
    for (let depth = 0; found.type === 'rule' && depth < INLINED; depth++) {
      const { rule } = found;
      const body = this.rules[rule]!.expression;
      let size = body.type === 'rule' ? 0 : this.sizes.get(rule);
      if (size === undefined) this.sizes.set(rule, (size = this.size(body, INLINED)));
      if (size > INLINED) break;
      found = body;
    }
    return found;
  }

  /** About how many nodes `expression` takes; somewhat more than `limit` if more. */
  private size(expression: Expression, limit: number): number {
    switch (expression.type) {
      case 'text':
        return expression.text.length;
      case 'characters':
        return expression.ranges.reduce((sum, [, last]) => sum + (last < 0x80 ? 1 : 6), 0);
      case 'sequence':
      case 'choice': {
        let sum = 1;
        for (const item of expression.items) {
          sum += this.size(item, limit - sum);
          if (sum > limit) break;
        }
        return sum;
      }
      case 'repeat':
        return 1 + this.size(expression.item, limit);
      case 'automaton':
        return 4 * expression.automaton.states.length;
      case 'rule':
        return limit + 1;
      default:
        return 1;
    }
  }
}
