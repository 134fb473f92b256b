/**
 * JSON as Python writes it. The models were trained on `json.dumps(value, ensure_ascii=False)`:
 * `{"a": 1.0, "b": [1e-05]}`, with keys in the order in which they came.
 */

/** Deeper values are refused: Python's own parser gives up at about twice as many. */
const MOST_DEPTH = 500;

/**
 * Python's form of a JSON text; undefined where Python would not parse it. NaN and Infinity are
 * numbers to Python; the last of equal keys wins, at the place of the first.
 * @example `{"a":1.50,"b":1E5}` gives `{"a": 1.5, "b": 100000.0}`
 */
export function pythonForm(json: string): string | undefined {
  const reader = new Reader(json);
  try {
    return reader.document();
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

/**
 * A JavaScript value in Python's form. What JSON has no value for is left out, as by JSON.stringify.
 * @returns undefined for what is no JSON at all: a function, a cycle, a value too deep
 */
export function pythonDump(value: unknown): string | undefined {
  try {
    return dump(value, 0);
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

class NotJson extends Error {}

function dump(value: unknown, depth: number): string {
  if (depth > MOST_DEPTH) throw new NotJson();
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      return Number.isInteger(value) && Math.abs(value) < 1e21 ? integer(value) : float(value);
    case 'bigint':
      return value.toString();
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      break;
    default:
      throw new NotJson();
  }
  if (value === null) return 'null';
  const plain = (value as { toJSON?: unknown }).toJSON;
  if (typeof plain === 'function') {
    return dump((plain as () => unknown).call(value), depth + 1);
  }
  if (Array.isArray(value)) {
    return `[${value.map((item) => (item === undefined ? 'null' : dump(item, depth + 1))).join(', ')}]`;
  }
  const members: string[] = [];
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${quote(key)}: ${dump(member, depth + 1)}`);
  }
  return `{${members.join(', ')}}`;
}

/** A string of JSON. Like Python it escapes what JSON must escape, and nothing else. */
export function quote(value: string): string {
  return JSON.stringify(value).replace(/\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g, (escape) =>
    // JSON.stringify escapes halves of characters; they are an error when they are encoded.
    String.fromCharCode(Number.parseInt(escape.slice(2), 16)),
  );
}

function integer(value: number): string {
  return Object.is(value, -0) ? '-0.0' : BigInt(value).toString();
}

/** Both languages write the fewest digits that give the number again; exponents they write apart. */
function float(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (Object.is(value, -0)) return '-0.0';
  const [mantissa, exponentText] = value.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 16) {
    const plain =
      exponent >= 0 ? value.toString() : value.toFixed(digitsAfterPoint(mantissa, exponent));
    return plain.includes('.') ? plain : `${plain}.0`;
  }
  const sign = exponent < 0 ? '-' : '+';
  return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

/** @example 1.5e-3 is 0.0015: 1 digit after the point of 1.5, and 3 of the exponent */
function digitsAfterPoint(mantissa: string, exponent: number): number {
  const point = mantissa.indexOf('.');
  return (point < 0 ? 0 : mantissa.length - point - 1) - exponent;
}

const SPACE = /[ \t\n\r]*/y;
// eslint-disable-next-line no-control-regex -- JSON has them escaped alone
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const WORD = /null|true|false|NaN|-?Infinity/y;

/** Reads JSON and writes it again at once. */
class Reader {
  private at = 0;

  constructor(private readonly json: string) {}

  document(): string {
    this.space();
    const value = this.value(0);
    this.space();
    if (this.at !== this.json.length) throw new NotJson();
    return value;
  }

  private value(depth: number): string {
    if (depth > MOST_DEPTH) throw new NotJson();
    switch (this.json[this.at]) {
      case '"':
        return quote(this.string());
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      default:
        return this.match(WORD)?.[0] ?? this.number();
    }
  }

  private object(depth: number): string {
    const members = new Map<string, string>();
    this.at++;
    this.space();
    while (!this.take('}')) {
      if (members.size > 0) this.comma();
      const key = this.string();
      this.space();
      if (!this.take(':')) throw new NotJson();
      this.space();
      members.set(key, this.value(depth + 1));
      this.space();
    }
    return `{${Array.from(members, ([key, value]) => `${quote(key)}: ${value}`).join(', ')}}`;
  }

  private array(depth: number): string {
    const items: string[] = [];
    this.at++;
    this.space();
    while (!this.take(']')) {
      if (items.length > 0) this.comma();
      items.push(this.value(depth + 1));
      this.space();
    }
    return `[${items.join(', ')}]`;
  }

  private string(): string {
    const found = this.match(STRING)?.[0];
    if (found === undefined) throw new NotJson();
    return JSON.parse(found) as string;
  }

  private number(): string {
    const found = this.match(NUMBER);
    if (!found) throw new NotJson();
    const [all, whole, fraction, exponent] = found;
    if (fraction === undefined && exponent === undefined) return BigInt(whole!).toString();
    return float(Number(all));
  }

  private comma(): void {
    if (!this.take(',')) throw new NotJson();
    this.space();
  }

  private space(): void {
    this.match(SPACE);
  }

  private take(character: string): boolean {
    if (this.json[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.json);
    if (found) this.at = pattern.lastIndex;
    return found;
  }
}
