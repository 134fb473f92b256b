import { GrammarError } from '../errors';
import type { CharacterRange } from './expression';
import { DIGIT, DOT, SPACE, WORD, invert, normalize, unicodeProperty } from './ranges';

/** A regular expression as a tree. `start` and `end` are `^` and `$`. */
export type Regex =
  | { readonly type: 'characters'; readonly ranges: readonly CharacterRange[] }
  | { readonly type: 'sequence'; readonly items: readonly Regex[] }
  | { readonly type: 'choice'; readonly items: readonly Regex[] }
  | {
      readonly type: 'repeat';
      readonly item: Regex;
      readonly least: number;
      readonly most: number;
    }
  | { readonly type: 'start' }
  | { readonly type: 'end' };

const GROUPS = 200;

/**
 * Reads an ECMA regular expression, with the syntax of the `u` flag and the leniency of its
 * absence: `\-` is `-`, and a `{` that begins no count is itself. Texts are code points. Lazy
 * quantifiers are as their greedy ones, since only what matches counts.
 * @throws {GrammarError} for wrong syntax, and for look-around, back-references and `\b`
 */
export function parseRegex(source: string): Regex {
  return new Parser(source).parse();
}

class Parser {
  /** Code points. */
  private readonly source: readonly string[];
  private at = 0;
  private groups = 0;

  constructor(source: string) {
    this.source = Array.from(source);
  }

  parse(): Regex {
    const regex = this.choice();
    if (this.at < this.source.length) throw this.error(')', 'has no "("');
    return regex;
  }

  private choice(): Regex {
    const items = [this.sequence()];
    while (this.take('|')) items.push(this.sequence());
    return items.length === 1 ? items[0]! : { type: 'choice', items };
  }

  private sequence(): Regex {
    const items: Regex[] = [];
    for (let next = this.peek(); next !== undefined && next !== '|' && next !== ')';) {
      items.push(this.quantified());
      next = this.peek();
    }
    return items.length === 1 ? items[0]! : { type: 'sequence', items };
  }

  private quantified(): Regex {
    const isAnchor = this.peek() === '^' || this.peek() === '$';
    const item = this.atom();
    const from = this.at;
    const count = this.quantifier();
    if (count === undefined) return item;
    this.take('?');
    const [least, most] = count;
    if (least > most) throw this.error('{}', 'counts down', from);
    if (isAnchor) {
      throw this.error(this.source[from]!, 'has nothing to repeat', from);
    }
    return { type: 'repeat', item, least, most };
  }

  private quantifier(): readonly [number, number] | undefined {
    if (this.take('*')) return [0, Infinity];
    if (this.take('+')) return [1, Infinity];
    if (this.take('?')) return [0, 1];
    if (this.peek() !== '{') return undefined;
    const from = this.at++;
    const least = this.digits();
    if (least !== undefined) {
      let most: number | undefined = least;
      if (this.take(',')) most = this.digits() ?? Infinity;
      if (this.take('}')) return [least, most];
    }
    this.at = from;
    return undefined;
  }

  private digits(): number | undefined {
    const from = this.at;
    while (/^[0-9]$/.test(this.peek() ?? '')) this.at++;
    if (this.at === from) return undefined;
    const value = Number(this.source.slice(from, this.at).join(''));
    if (value > 1e9) throw this.error('{}', 'counts further than 1,000,000,000', from);
    return value;
  }

  private atom(): Regex {
    const from = this.at;
    const character = this.source[this.at++]!;
    switch (character) {
      case '^':
        return { type: 'start' };
      case '$':
        return { type: 'end' };
      case '.':
        return { type: 'characters', ranges: DOT };
      case '(':
        return this.group(from);
      case '[':
        return { type: 'characters', ranges: this.characterClass(from) };
      case '\\':
        return { type: 'characters', ranges: this.escape(false) };
      case '*':
      case '+':
      case '?':
        throw this.error(character, 'has nothing to repeat', from);
      case '{':
        this.at = from;
        if (this.quantifier() !== undefined) {
          throw this.error('{}', 'has nothing to repeat', from);
        }
        this.at = from + 1;
    }
    return { type: 'characters', ranges: normalize(only(character.codePointAt(0)!)) };
  }

  private group(from: number): Regex {
    if (++this.groups > GROUPS) throw this.error('()', `is nested more than ${GROUPS} deep`, from);
    if (this.take('?')) this.groupKind(from);
    const regex = this.choice();
    if (!this.take(')')) throw this.error('(', 'has no ")"', from);
    this.groups--;
    return regex;
  }

  private groupKind(from: number): void {
    if (this.take(':')) return;
    if (this.take('=') || this.take('!')) throw this.unsupported('look-ahead', from);
    if (!this.take('<')) throw this.unsupported(`(?${this.peek() ?? ''}`, from);
    if (this.take('=') || this.take('!')) throw this.unsupported('look-behind', from);
    const end = this.source.indexOf('>', this.at);
    const name = end < 0 ? '' : this.source.slice(this.at, end).join('');
    if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)) {
      throw this.error('(?<', 'has no name', from);
    }
    this.at = end + 1;
  }

  private characterClass(from: number): readonly CharacterRange[] {
    const negated = this.take('^');
    const ranges: CharacterRange[] = [];
    while (!this.take(']')) {
      const place = this.at;
      const first = this.classAtom(from);
      if (this.peek() !== '-' || this.peek(1) === ']' || this.peek(1) === undefined) {
        ranges.push(...first);
        continue;
      }
      this.at++;
      const last = this.classAtom(from);
      if (isSingle(first) && isSingle(last)) {
        if (first[0]![0] > last[0]![0]) throw this.error('[]', 'has a range that goes down', place);
        ranges.push([first[0]![0], last[0]![0]]);
      } else {
        // `[\w-.]` is `\w`, `-` and `.`.
        ranges.push(...first, ...only(0x2d), ...last);
      }
    }
    return negated ? invert(ranges) : normalize(ranges);
  }

  private classAtom(from: number): readonly CharacterRange[] {
    const character = this.source[this.at++];
    if (character === undefined) throw this.error('[', 'has no "]"', from);
    return character === '\\' ? this.escape(true) : only(character.codePointAt(0)!);
  }

  /** What comes after a backslash. Surrogates pass here: a class may have them at its ends. */
  private escape(inClass: boolean): readonly CharacterRange[] {
    const from = this.at - 1;
    const character = this.source[this.at++];
    switch (character) {
      case undefined:
        throw this.error('\\', 'ends the expression', from);
      case 'd':
        return DIGIT;
      case 'D':
        return invert(DIGIT);
      case 'w':
        return WORD;
      case 'W':
        return invert(WORD);
      case 's':
        return SPACE;
      case 'S':
        return invert(SPACE);
      case 't':
        return only(0x09);
      case 'n':
        return only(0x0a);
      case 'v':
        return only(0x0b);
      case 'f':
        return only(0x0c);
      case 'r':
        return only(0x0d);
      case 'b':
        if (inClass) return only(0x08);
        throw this.unsupported('\\b', from);
      case 'B':
        throw this.unsupported('\\B', from);
      case 'k':
        throw this.unsupported('back-reference', from);
      case '0':
        if (/^[0-9]$/.test(this.peek() ?? '')) throw this.unsupported('octal escape', from);
        return only(0);
      case 'c':
        if (!/^[A-Za-z]$/.test(this.peek() ?? '')) throw this.error('\\c', 'has no letter', from);
        return only(this.source[this.at++]!.charCodeAt(0) % 32);
      case 'x':
        return only(this.hex(2, from));
      case 'u':
        return only(this.codePoint(from));
      case 'p':
      case 'P':
        return this.property(character === 'P', from);
    }
    if (/^[1-9]$/.test(character)) throw this.unsupported('back-reference', from);
    if (/^[A-Za-z]$/.test(character)) throw this.unsupported(`\\${character}`, from);
    return only(character.codePointAt(0)!);
  }

  private codePoint(from: number): number {
    if (this.take('{')) {
      const end = this.source.indexOf('}', this.at);
      const digits = end < 0 ? '' : this.source.slice(this.at, end).join('');
      const code = /^[0-9A-Fa-f]{1,16}$/.test(digits) ? parseInt(digits, 16) : Infinity;
      if (code > 0x10ffff) throw this.error('\\u{}', 'is no code point', from);
      this.at = end + 1;
      return code;
    }
    const unit = this.hex(4, from);
    const isPair = unit >= 0xd800 && unit < 0xdc00 && this.peek() === '\\' && this.peek(1) === 'u';
    if (!isPair) return unit;
    const low = this.source.slice(this.at + 2, this.at + 6).join('');
    if (!/^[Dd][C-Fc-f][0-9A-Fa-f]{2}$/.test(low)) return unit;
    this.at += 6;
    return ((unit - 0xd800) << 10) + parseInt(low, 16) - 0xdc00 + 0x10000;
  }

  private hex(length: number, from: number): number {
    const digits = this.source.slice(this.at, this.at + length).join('');
    if (digits.length !== length || !/^[0-9A-Fa-f]+$/.test(digits)) {
      throw this.error(`\\${length === 2 ? 'x' : 'u'}`, `has not ${length} digits`, from);
    }
    this.at += length;
    return parseInt(digits, 16);
  }

  private property(negated: boolean, from: number): readonly CharacterRange[] {
    const end = this.peek() === '{' ? this.source.indexOf('}', this.at) : -1;
    const name = this.source.slice(this.at + 1, Math.max(end, this.at + 1)).join('');
    const ranges = unicodeProperty(name);
    if (ranges === undefined) throw this.error('\\p', 'names no property of characters', from);
    this.at = end + 1;
    return negated ? invert(ranges) : ranges;
  }

  private peek(ahead = 0): string | undefined {
    return this.source[this.at + ahead];
  }

  private take(character: string): boolean {
    const taken = this.source[this.at] === character;
    if (taken) this.at++;
    return taken;
  }

  private error(keyword: string, problem: string, at = this.at): GrammarError {
    const message = `regular expression: "${keyword}" at character ${at + 1} ${problem}`;
    return new GrammarError(message, { keyword });
  }

  private unsupported(keyword: string, at: number): GrammarError {
    return this.error(keyword, 'is not supported', at);
  }
}

function only(code: number): readonly CharacterRange[] {
  return [[code, code]];
}

function isSingle(ranges: readonly CharacterRange[]): boolean {
  return ranges.length === 1 && ranges[0]![0] === ranges[0]![1];
}
