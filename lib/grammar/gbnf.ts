import { GrammarError } from '../errors';
import {
  type CharacterRange,
  type Expression,
  type Rule,
  type RuleSet,
  repeat,
  text,
} from './expression';
import { ANY, invert, normalize } from './ranges';

const GROUPS = 200;
const LARGEST_COUNT = 1e9;
const ESCAPES: Readonly<Record<string, string>> = {
  t: '\t',
  r: '\r',
  n: '\n',
  '\\': '\\',
  '"': '"',
  '[': '[',
  ']': ']',
};
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/**
 * Reads a grammar in llama.cpp's format, GBNF. Texts are of the rule `root`. More than there, an
 * alternative may begin a line of its own after its rule's first.
 * @throws {GrammarError} with line and column
 */
export function gbnfRules(source: string): RuleSet {
  return new Parser(source).parse();
}

class Parser {
  /** Code points. */
  private readonly source: readonly string[];
  private at = 0;
  private groups = 0;
  private readonly rules: {
    readonly name: string;
    expression?: Expression;
    readonly at: number;
  }[] = [];
  private readonly indexes = new Map<string, number>();

  constructor(source: string) {
    this.source = Array.from(source);
    this.ruleOf('root', 0);
  }

  parse(): RuleSet {
    this.space(true);
    while (this.at < this.source.length) this.rule();
    const rules = this.rules.map(({ name, expression, at }, index): Rule => {
      if (expression !== undefined) return { name, expression };
      if (index === 0) throw new GrammarError('grammar: has no rule root', { keyword: 'root' });
      throw this.error(name, 'is not defined', at);
    });
    return { rules };
  }

  private ruleOf(name: string, at: number): number {
    let index = this.indexes.get(name);
    if (index === undefined) {
      this.indexes.set(name, (index = this.rules.length));
      this.rules.push({ name, at });
    }
    return index;
  }

  private rule(): void {
    const from = this.at;
    const name = this.name();
    if (name === '') throw this.unexpected('the name of a rule');
    this.space(false);
    for (const character of '::=') if (!this.take(character)) throw this.unexpected('"::="');
    this.space(true);
    const rule = this.rules[this.ruleOf(name, from)]!;
    if (rule.expression !== undefined) throw this.error(name, 'is defined twice', from);
    rule.expression = this.choice(false);
    const end = this.source[this.at];
    if (end !== undefined && end !== '\n' && end !== '\r')
      throw this.unexpected('the end of a line');
    this.space(true);
  }

  private choice(isNested: boolean): Expression {
    const items = [this.sequence(isNested)];
    for (;;) {
      const end = this.at;
      this.space(true);
      if (!this.take('|')) {
        this.at = end;
        return items.length === 1 ? items[0]! : { type: 'choice', items };
      }
      this.space(true);
      items.push(this.sequence(isNested));
    }
  }

  private sequence(isNested: boolean): Expression {
    const items: Expression[] = [];
    for (let item = this.item(); item !== undefined; item = this.item()) {
      items.push(this.quantified(item));
      this.space(isNested);
    }
    return items.length === 1 ? items[0]! : { type: 'sequence', items };
  }

  private item(): Expression | undefined {
    const from = this.at;
    const character = this.source[from];
    if (character === undefined) return undefined;
    if (this.take('"')) return text(this.literal(from));
    if (this.take('[')) return { type: 'characters', ranges: this.characterClass(from) };
    if (this.take('.')) return { type: 'characters', ranges: ANY };
    if (this.take('(')) return this.group(from);
    if (this.take('<')) return this.token(from);
    const name = this.name();
    return name === '' ? undefined : { type: 'rule', rule: this.ruleOf(name, from) };
  }

  private group(from: number): Expression {
    if (++this.groups > GROUPS) throw this.error('(', `is nested more than ${GROUPS} deep`, from);
    this.space(true);
    const expression = this.choice(true);
    this.space(true);
    if (!this.take(')')) throw this.error('(', 'has no ")"', from);
    this.groups--;
    return expression;
  }

  /** Quantifiers may follow each other; so many do not nest deeper than groups. */
  private quantified(item: Expression): Expression {
    let found = item;
    for (let depth = 0; ; depth++) {
      const from = this.at;
      const count = this.quantifier(from);
      if (count === undefined) return found;
      if (depth === GROUPS) throw this.error('*', 'follows too many like it', from);
      const [least, most] = count;
      if (least > most) throw this.error('{}', 'counts down', from);
      found = repeat(found, least, most);
    }
  }

  private quantifier(from: number): readonly [number, number] | undefined {
    if (this.take('*')) return [0, Infinity];
    if (this.take('+')) return [1, Infinity];
    if (this.take('?')) return [0, 1];
    if (!this.take('{')) return undefined;
    this.space(true);
    const least = this.count();
    if (least === undefined) throw this.unexpected('a number');
    this.space(true);
    let most = least;
    if (this.take(',')) {
      this.space(true);
      most = this.count() ?? Infinity;
      this.space(true);
    }
    if (!this.take('}')) throw this.error('{', 'has no "}"', from);
    return [least, most];
  }

  private count(): number | undefined {
    const from = this.at;
    while (/^[0-9]$/.test(this.source[this.at] ?? '')) this.at++;
    if (this.at === from) return undefined;
    const value = Number(this.source.slice(from, this.at).join(''));
    if (value > LARGEST_COUNT) throw this.error('{}', `counts further than ${LARGEST_COUNT}`, from);
    return value;
  }

  private literal(from: number): string {
    const parts: string[] = [];
    while (!this.take('"')) parts.push(this.character('"', from));
    return parts.join('');
  }

  private characterClass(from: number): readonly CharacterRange[] {
    const negated = this.take('^');
    const ranges: CharacterRange[] = [];
    while (!this.take(']')) {
      const place = this.at;
      const first = this.character('[', from).codePointAt(0)!;
      let last = first;
      if (this.source[this.at] === '-' && this.source[this.at + 1] !== ']') {
        this.at++;
        last = this.character('[', from).codePointAt(0)!;
      }
      if (first > last) throw this.error('[', 'has a range that goes down', place);
      ranges.push([first, last]);
    }
    return negated ? invert(ranges) : normalize(ranges);
  }

  /** One character of a literal or class that was opened at `from`. */
  private character(opening: string, from: number): string {
    const start = this.at;
    const character = this.source[this.at++];
    if (character === undefined) throw this.error(opening, 'is not closed', from);
    if (character !== '\\') {
      if (/\p{Surrogate}/u.test(character)) throw this.error('surrogate', 'is no character', start);
      return character;
    }
    const kind = this.source[this.at++] ?? '';
    const escaped = Object.hasOwn(ESCAPES, kind) ? ESCAPES[kind] : undefined;
    if (escaped !== undefined) return escaped;
    const length = Object.hasOwn(HEX_DIGITS, kind) ? HEX_DIGITS[kind]! : 0;
    const digits = this.source.slice(this.at, this.at + length).join('');
    if (length === 0) throw this.error(`\\${kind}`, 'is no escape', start);
    if (digits.length !== length || !/^[0-9A-Fa-f]+$/.test(digits)) {
      throw this.error(`\\${kind}`, `has not ${length} digits`, start);
    }
    this.at += length;
    const code = parseInt(digits, 16);
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      throw this.error(`\\${kind}`, 'is no character', start);
    }
    return String.fromCodePoint(code);
  }

  /** `<[1000]>`: a token by its id. */
  private token(from: number): Expression {
    if (!this.take('['))
      throw this.error('<', 'names a token: only ids are supported, <[1000]>', from);
    const id = this.count();
    if (id === undefined || !this.take(']') || !this.take('>')) throw this.unexpected('<[id]>');
    return { type: 'token', id };
  }

  private name(): string {
    const from = this.at;
    while (/^[a-zA-Z0-9_-]$/.test(this.source[this.at] ?? '')) this.at++;
    return this.source.slice(from, this.at).join('');
  }

  /** Over spaces and comments, and over the ends of lines if wanted. */
  private space(overLines: boolean): void {
    for (;;) {
      const character = this.source[this.at];
      if (character === '#') {
        while (this.at < this.source.length && !/^[\r\n]$/.test(this.source[this.at]!)) this.at++;
      } else if (
        character === ' ' ||
        character === '\t' ||
        (overLines && (character === '\n' || character === '\r'))
      ) {
        this.at++;
      } else {
        return;
      }
    }
  }

  private take(character: string): boolean {
    const taken = this.source[this.at] === character;
    if (taken) this.at++;
    return taken;
  }

  private unexpected(wanted: string): GrammarError {
    const found = this.source[this.at];
    const what = found === undefined ? 'the end' : JSON.stringify(found);
    return new GrammarError(`grammar: ${this.place(this.at)}: ${what} where ${wanted} is wanted`, {
      keyword: found ?? 'end',
    });
  }

  private error(keyword: string, problem: string, at: number): GrammarError {
    return new GrammarError(`grammar: ${this.place(at)}: "${keyword}" ${problem}`, { keyword });
  }

  private place(at: number): string {
    const before = this.source.slice(0, at);
    const line = before.filter((character) => character === '\n').length + 1;
    return `line ${line}, column ${at - before.lastIndexOf('\n')}`;
  }
}
