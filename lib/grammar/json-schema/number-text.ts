import {
  characters,
  choice,
  optional,
  repeat,
  sequence,
  text,
  type Automaton,
  type AutomatonEdge,
  type Expression,
} from '../expression';
import { compare, format, negate, ZERO } from './decimal';
import type { Bound, NumberRange, NumberSet } from './form';
import { trim } from './trim';

/** Digits before the point, and after it, of a number that nothing bounds. */
const MOST_DIGITS = 16;
/**
 * Digits of a number in all where the last one matters: 99.9999999999999999 is below 100, but what
 * reads it as a double takes it for 100.
 */
const EXACT_DIGITS = 15;
const MOST_SCALE = 40;
const MOST_STATES = 30_000;

const DIGIT = characters([0x30, 0x39]);
const FROM_1 = characters([0x31, 0x39]);
const SIGN = optional(text('-'));
const FRACTION = sequence(text('.'), repeat(DIGIT, 1, MOST_DIGITS));
const E = characters([0x45, 0x45], [0x65, 0x65]);
const WHOLE = choice(text('0'), sequence(FROM_1, repeat(DIGIT, 0, MOST_DIGITS - 1)));

/** Exponents of up to three digits that keep the number below the largest double. */
function exponent(hundreds: Expression): Expression {
  const small = repeat(DIGIT, 1, 2);
  const plus = sequence(optional(text('+')), choice(small, hundreds));
  return sequence(E, choice(plus, sequence(text('-'), repeat(DIGIT, 1, 3))));
}

const UP_TO_289 = choice(
  sequence(text('1'), DIGIT, DIGIT),
  sequence(text('2'), characters([0x30, 0x38]), DIGIT),
);
const UP_TO_307 = choice(
  sequence(characters([0x31, 0x32]), DIGIT, DIGIT),
  sequence(text('30'), characters([0x30, 0x37])),
);

export const FREE_INTEGER: Expression = sequence(SIGN, WHOLE);
export const FREE_NUMBER: Expression = sequence(
  SIGN,
  choice(
    sequence(WHOLE, optional(FRACTION), optional(exponent(UP_TO_289))),
    sequence(DIGIT, optional(FRACTION), exponent(UP_TO_307)),
  ),
);

/** How numbers of a set are written; undefined where that would take too many states. */
export function numberText(set: NumberSet): Expression | undefined {
  if (set.values !== undefined)
    return choice(...set.values.map((value) => text(JSON.stringify(value))));
  const { kind, least, most, multipleOf } = set;
  if (least === undefined && most === undefined && multipleOf === undefined) {
    if (kind === 'any') return FREE_NUMBER;
    if (kind === 'integer') return FREE_INTEGER;
  }
  const automaton = rangeAutomaton(set);
  return automaton === undefined ? undefined : { type: 'automaton', automaton };
}

/** Where an automaton is in a number's text, and how what was read compares with the bounds. */
interface Position {
  readonly part: 'start' | 'zero' | 'whole' | 'point' | 'fraction';
  /** Digits of this part. */
  readonly count: number;
  readonly toLeast: number;
  readonly toMost: number;
  readonly remainder: number;
  readonly isFraction: boolean;
  /** Digits before the point; 0 where they do not matter. */
  readonly whole: number;
}

interface Magnitude {
  readonly kind: NumberRange['kind'];
  readonly least: Digits | undefined;
  readonly most: Digits | undefined;
  readonly divisor: number;
  /** Digits after the point that multiples may have. */
  readonly scale: number;
  readonly mostWhole: number;
  readonly mostFraction: number;
  /** Of both parts. */
  readonly mostDigits: number;
}

interface Digits {
  readonly whole: string;
  readonly fraction: string;
  readonly exclusive: boolean;
}

function rangeAutomaton(set: NumberRange): Automaton | undefined {
  const { least, most, multipleOf } = set;
  const scale = multipleOf?.scale ?? 0;
  const divisor = multipleOf?.digits ?? 1n;
  if (
    Math.max(scale, least?.value.scale ?? 0, most?.value.scale ?? 0) > MOST_SCALE ||
    divisor > 10_000n
  )
    return undefined;
  const isExact =
    set.kind === 'fraction' ||
    multipleOf !== undefined ||
    least?.exclusive === true ||
    most?.exclusive === true;
  const magnitude = (from: Bound | undefined, to: Bound | undefined): Magnitude => ({
    kind: set.kind,
    least: from && digitsOf(from),
    most: to && digitsOf(to),
    divisor: multipleOf === undefined ? 0 : Number(divisor),
    scale,
    mostWhole: Math.max(
      MOST_DIGITS,
      from ? digitsOf(from).whole.length : 0,
      to ? digitsOf(to).whole.length : 0,
    ),
    mostDigits: isExact ? EXACT_DIGITS : Infinity,
    mostFraction: Math.max(MOST_DIGITS, scale, from?.value.scale ?? 0, to?.value.scale ?? 0),
  });
  const states: { accepts: boolean; edges: AutomatonEdge[] }[] = [{ accepts: false, edges: [] }];
  // Zero is written without a sign.
  const upwards =
    most !== undefined && isBelowZero(most)
      ? undefined
      : magnitude(least !== undefined && compare(least.value, ZERO) >= 0 ? least : undefined, most);
  const sign = least === undefined || compare(least.value, ZERO) < 0;
  const zero: Bound = { value: ZERO, exclusive: true };
  const downwards = sign
    ? magnitude(
        most !== undefined && compare(most.value, ZERO) < 0 ? opposite(most) : zero,
        least && opposite(least),
      )
    : undefined;
  for (const [prefix, part] of [
    [0x2d, downwards],
    [undefined, upwards],
  ] as const) {
    if (part === undefined) continue;
    const first = states.length;
    if (!addMagnitude(states, part)) return undefined;
    if (prefix === undefined) states[0]!.edges.push(...states[first]!.edges);
    else states[0]!.edges.push([prefix, prefix, first]);
  }
  return trim({ states });
}

function addMagnitude(
  states: { accepts: boolean; edges: AutomatonEdge[] }[],
  magnitude: Magnitude,
): boolean {
  const numbers = new Map<string, number>();
  const queue: Position[] = [];
  const add = (position: Position): number => {
    const { part, count, toLeast, toMost, remainder, isFraction, whole } = position;
    const name = `${part} ${count} ${toLeast} ${toMost} ${remainder} ${isFraction} ${whole}`;
    let number = numbers.get(name);
    if (number === undefined) {
      number = states.length;
      numbers.set(name, number);
      states.push({ accepts: isAccepted(magnitude, position), edges: [] });
      queue.push(position);
    }
    return number;
  };
  const first = add({
    part: 'start',
    count: 0,
    toLeast: 0,
    toMost: 0,
    remainder: 0,
    isFraction: false,
    whole: 0,
  });
  for (let i = 0; i < queue.length; i++) {
    if (states.length > MOST_STATES) return false;
    const edges: AutomatonEdge[] = [];
    const position = queue[i]!;
    if (magnitude.kind !== 'integer' && (position.part === 'zero' || position.part === 'whole')) {
      const next = atPoint(magnitude, position);
      if (next !== undefined) edges.push([0x2e, 0x2e, add(next)]);
    }
    for (let digit = 0; digit <= 9; digit++) {
      const next =
        position.part === 'point' || position.part === 'fraction'
          ? fractionDigit(magnitude, position, digit)
          : wholeDigit(magnitude, position, digit);
      if (next !== undefined) edges.push([0x30 + digit, 0x30 + digit, add(next)]);
    }
    states[first + i]!.edges = edges;
  }
  return true;
}

function wholeDigit(magnitude: Magnitude, at: Position, digit: number): Position | undefined {
  if (at.part === 'zero' || at.count === Math.min(magnitude.mostWhole, magnitude.mostDigits))
    return undefined;
  return {
    part: at.part === 'start' && digit === 0 ? 'zero' : 'whole',
    count: at.count + 1,
    toLeast: compareDigit(at.toLeast, digit, magnitude.least?.whole[at.count]),
    toMost: compareDigit(at.toMost, digit, magnitude.most?.whole[at.count]),
    remainder: magnitude.divisor === 0 ? 0 : (at.remainder * 10 + digit) % magnitude.divisor,
    isFraction: false,
    whole: 0,
  };
}

/** Lengths decide now, and only then digits. */
function atPoint(magnitude: Magnitude, at: Position): Position | undefined {
  const toLeast = compareWhole(at.count, at.toLeast, magnitude.least);
  const toMost = compareWhole(at.count, at.toMost, magnitude.most);
  if (
    (magnitude.least !== undefined && toLeast < 0) ||
    (magnitude.most !== undefined && toMost > 0)
  )
    return undefined;
  const whole = magnitude.mostDigits === Infinity ? 0 : at.count;
  return { ...at, part: 'point', count: 0, toLeast, toMost, whole };
}

function fractionDigit(magnitude: Magnitude, at: Position, digit: number): Position | undefined {
  if (at.count === Math.min(magnitude.mostFraction, magnitude.mostDigits - at.whole))
    return undefined;
  const beyond = at.count >= magnitude.scale;
  if (magnitude.divisor !== 0 && beyond && digit !== 0) return undefined;
  const toLeast = compareDigit(
    at.toLeast,
    digit,
    magnitude.least && (magnitude.least.fraction[at.count] ?? '0'),
  );
  const toMost = compareDigit(
    at.toMost,
    digit,
    magnitude.most && (magnitude.most.fraction[at.count] ?? '0'),
  );
  if (
    (magnitude.least !== undefined && toLeast < 0) ||
    (magnitude.most !== undefined && toMost > 0)
  )
    return undefined;
  return {
    part: 'fraction',
    count: at.count + 1,
    toLeast,
    toMost,
    remainder:
      magnitude.divisor === 0 || beyond
        ? at.remainder
        : (at.remainder * 10 + digit) % magnitude.divisor,
    isFraction: at.isFraction || digit !== 0,
    whole: at.whole,
  };
}

function isAccepted(magnitude: Magnitude, at: Position): boolean {
  if (at.part === 'start' || at.part === 'point') return false;
  if (magnitude.kind === 'fraction' && !at.isFraction) return false;
  const read = at.part === 'fraction' ? at.count : 0;
  const order = (order: number, bound: Digits): number => {
    const whole = at.part === 'fraction' ? order : compareWhole(at.count, order, bound);
    return whole === 0 && /[1-9]/.test(bound.fraction.slice(read)) ? -1 : whole;
  };
  if (magnitude.least !== undefined) {
    const found = order(at.toLeast, magnitude.least);
    if (found < 0 || (found === 0 && magnitude.least.exclusive)) return false;
  }
  if (magnitude.most !== undefined) {
    const found = order(at.toMost, magnitude.most);
    if (found > 0 || (found === 0 && magnitude.most.exclusive)) return false;
  }
  if (magnitude.divisor === 0) return true;
  const missing = magnitude.scale - Math.min(read, magnitude.scale);
  return (BigInt(at.remainder) * 10n ** BigInt(missing)) % BigInt(magnitude.divisor) === 0n;
}

/** @param order of the digits before this one: the first difference decides */
function compareDigit(order: number, digit: number, other: string | undefined): number {
  if (order !== 0 || other === undefined) return order;
  return Math.sign(digit - Number(other));
}

function compareWhole(count: number, order: number, bound: Digits | undefined): number {
  if (bound === undefined) return 0;
  return count === bound.whole.length ? order : Math.sign(count - bound.whole.length);
}

function digitsOf({ value, exclusive }: Bound): Digits {
  const [whole = '', fraction = ''] = format(value).split('.');
  return { whole, fraction, exclusive };
}

function opposite({ value, exclusive }: Bound): Bound {
  return { value: negate(value), exclusive };
}

function isBelowZero({ value, exclusive }: Bound): boolean {
  const order = compare(value, ZERO);
  return order < 0 || (order === 0 && exclusive);
}
