import { GrammarError } from '../../errors';
import { choice, NOTHING, text, type Expression, type RuleSet } from '../expression';
import { arrayText } from './array-text';
import type { Decimal } from './decimal';
import type { Document } from './document';
import { Refusal, type Form, type Node, type NumberSet, type StringSet, type Union } from './form';
import { COMPACT, prettyLayout } from './layout';
import { ANY, type Nodes } from './nodes';
import type { Normalizer } from './normalize';
import { numberText } from './number-text';
import { objectText, type Writer } from './object-text';
import { productive } from './productive';
import { stringText } from './string-text';

export interface WriteOptions {
  readonly openObjects: boolean;
  readonly pretty: boolean;
}

const MOST_RULES = 50_000;
/** With `pretty`, deeper values are not written: each level has rules of its own. */
const MOST_LEVELS = 16;

/** Makes rules of nodes: one for each, and for each level where lines are indented. */
export class RuleWriter {
  readonly #rules: { name: string; expression: Expression }[] = [];
  readonly #known = new Map<string, Expression>();
  /** Of strings and numbers that come again and again, and of choices of such. */
  readonly #scalars = new Map<string, Expression | undefined>();
  readonly #identities = new Map<object, number>();
  readonly #queue: { node: Node; level: number; rule: number }[] = [];

  constructor(
    readonly document: Document,
    readonly nodes: Nodes,
    readonly normalizer: Normalizer,
    readonly options: WriteOptions,
  ) {}

  write(root: Node): RuleSet {
    this.#value(root, 0);
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop()) {
      this.#rules[next.rule]!.expression = this.#expression(next.node, next.level);
    }
    return productive(this.#rules);
  }

  #value(node: Node, level: number): Expression {
    const name = `${node} ${level}`;
    let expression = this.#known.get(name);
    if (expression === undefined) {
      if (level > MOST_LEVELS) return NOTHING;
      const rule = this.#add(this.#name(node), NOTHING);
      expression = { type: 'rule', rule };
      this.#known.set(name, expression);
      this.#queue.push({ node, level, rule });
    }
    return expression;
  }

  #add(name: string, expression: Expression): number {
    if (this.#rules.length === MOST_RULES) {
      throw new GrammarError(`The schema becomes more than ${MOST_RULES} rules.`, { keyword: '' });
    }
    return this.#rules.push({ name, expression }) - 1;
  }

  #name(node: Node): string {
    const parts = this.nodes.parts(node);
    if (node === ANY) return 'any value';
    if (parts.kind === 'all')
      return parts.of
        .map((part) => this.#name(part))
        .slice(0, 4)
        .join(' & ')
        .slice(0, 200);
    return parts.kind === 'schema' ? `#${this.document.pointerOf(parts.schema)}` : parts.kind;
  }

  #expression(node: Node, level: number): Expression {
    const form = this.normalizer.form(node);
    const { emptiness } = this.normalizer;
    const writer: Writer = {
      layout: this.options.pretty ? prettyLayout(level) : COMPACT,
      isEmpty: (inner) => emptiness.isEmpty(inner),
      value: (inner) => this.#value(inner, this.options.pretty ? level + 1 : 0),
      nodes: this.nodes,
      rule: (name, make) => ({ type: 'rule', rule: this.#add(name, make()) }),
    };
    const items: Expression[] = words(form);
    const add = <Set>(
      union: Union<Set>,
      keyword: string,
      make: (set: Set) => Expression | undefined,
    ): void => {
      if (union instanceof Refusal) throw union.error;
      for (const set of union) {
        const made = make(set);
        if (made === undefined) throw this.#refused(node, keyword);
        items.push(made);
      }
    };
    add(form.numbers, 'number', (set) =>
      this.#once(this.#numberKey(set), () => {
        this.nodes.spend(numberWork(set));
        return numberText(set);
      }),
    );
    add(form.strings, 'string', (set) =>
      this.#once(this.#stringKey(set), () => {
        this.nodes.spend(stringWork(set));
        return stringText(set);
      }),
    );
    const scalars = items.length;
    add(form.objects, 'object', (set) => objectText(set, this.options.openObjects, writer));
    add(form.arrays, 'array', (set) => arrayText(set, writer));
    if (items.length > scalars || scalars < 2) return choice(...items);
    // As one object, which makes one rule of the rules that have it.
    const key = items.map((item) => this.#identity(item)).join();
    return this.#once(key, () => choice(...items))!;
  }

  #once(key: string, make: () => Expression | undefined): Expression | undefined {
    if (!this.#scalars.has(key)) this.#scalars.set(key, make());
    return this.#scalars.get(key);
  }

  #identity(object: object): number {
    let found = this.#identities.get(object);
    if (found === undefined) this.#identities.set(object, (found = this.#identities.size));
    return found;
  }

  #numberKey(set: NumberSet): string {
    if (set.values !== undefined) return `numbers ${set.values.join()}`;
    const bounds = [set.least, set.most].map(
      (bound) => bound && `${decimalKey(bound.value)}${bound.exclusive ? '!' : ''}`,
    );
    const multiple = set.multipleOf && decimalKey(set.multipleOf);
    return `${set.kind} ${bounds.join(' ')} ${multiple}`;
  }

  #stringKey(set: StringSet): string {
    if (set.values !== undefined) return `strings ${JSON.stringify([...set.values])}`;
    const { automaton, least, most } = set;
    return `pattern ${automaton && this.#identity(automaton)} ${least} ${most}`;
  }

  /** The keyword is guessed: of those of its type, the ones that ask for much. */
  #refused(node: Node, type: string): GrammarError {
    const candidates: Readonly<Record<string, readonly string[]>> = {
      number: ['multipleOf', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
      string: ['maxLength', 'minLength', 'pattern'],
      object: ['minProperties', 'maxProperties'],
      array: ['uniqueItems', 'contains'],
    };
    const parts = this.nodes.parts(node);
    const schemas = (parts.kind === 'all' ? parts.of : [node]).map((part) =>
      this.nodes.parts(part),
    );
    for (const part of schemas) {
      if (part.kind !== 'schema') continue;
      const keyword = candidates[type]!.find((word) => part.schema.has(word));
      if (keyword !== undefined)
        return this.document.error(
          part.schema,
          keyword,
          'What this asks for, together with the rest, is not supported.',
        );
    }
    const first = schemas.find((part) => part.kind === 'schema');
    const keyword = candidates[type]![0]!;
    return new GrammarError(`The "${keyword}" of a combined schema is not supported.`, {
      pointer: first?.kind === 'schema' ? this.document.pointerOf(first.schema) : '',
      keyword,
    });
  }
}

/** About as many as there are states in what is written. */
function numberWork(set: NumberSet): number {
  if (set.values !== undefined) return set.values.length;
  // A bound of many digits has states for each of them.
  const digits = [set.least, set.most].map((bound) => String(bound?.value.digits ?? '').length);
  return (
    100 +
    20 * (digits[0]! + digits[1]!) +
    16 * Math.min(Number(set.multipleOf?.digits ?? 0), 10_000)
  );
}

function stringWork(set: StringSet): number {
  if (set.values !== undefined)
    return [...set.values].reduce((sum, value) => sum + value.length, 0);
  const states = set.automaton?.states.length ?? 0;
  const levels = set.most === Infinity ? set.least : set.most;
  return Math.min(states * (levels + 1), 50_000);
}

function decimalKey({ digits, scale }: Decimal): string {
  return `${digits}e-${scale}`;
}

const NULL = text('null');
const TRUE = text('true');
const FALSE = text('false');

function words(form: Form): Expression[] {
  const items: Expression[] = [];
  if (form.null) items.push(NULL);
  if (form.true) items.push(TRUE);
  if (form.false) items.push(FALSE);
  return items;
}
