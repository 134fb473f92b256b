import {
  compare,
  decimal,
  isInteger,
  isMultiple,
  leastCommonMultiple,
  type Decimal,
} from './decimal';
import type { Bound, NumberRange, NumberSet } from './form';

export const ANY_NUMBER: NumberRange = { kind: 'any' };

/** What is in both; undefined if that is nothing. */
export function intersectNumbers(a: NumberSet, b: NumberSet): NumberSet | undefined {
  if (a.values !== undefined) return only(a.values.filter((value) => hasNumber(b, value)));
  if (b.values !== undefined) return intersectNumbers(b, a);
  const kind = a.kind === 'any' ? b.kind : a.kind;
  if (b.kind !== 'any' && b.kind !== kind) return undefined;
  const least = tighter(a.least, b.least, 1);
  const most = tighter(a.most, b.most, -1);
  const multipleOf =
    a.multipleOf && b.multipleOf
      ? leastCommonMultiple(a.multipleOf, b.multipleOf)
      : (a.multipleOf ?? b.multipleOf);
  const range: NumberRange = { kind, least, most, multipleOf };
  return isEmptyRange(range) ? undefined : range;
}

/** What is in `a` and not in `b`; undefined where that cannot be said. */
export function subtractNumbers(a: NumberSet, b: NumberSet): NumberSet[] | undefined {
  if (a.values !== undefined)
    return compact([only(a.values.filter((value) => !hasNumber(b, value)))]);
  const rest: NumberRange[] = [];
  if (b.values !== undefined) {
    const points = b.values
      .map((value): Bound => ({ value: decimal(value), exclusive: true }))
      .sort((x, y) => compare(x.value, y.value));
    for (let i = 0; i <= points.length; i++)
      rest.push({ kind: 'any', least: points[i - 1], most: points[i] });
  } else {
    const multiples = b.multipleOf;
    if (multiples !== undefined) {
      // Integers that are no multiples of 1 are none; of others nothing is said.
      if (!(b.kind === 'any' && multiples.digits === 1n && multiples.scale === 0)) return undefined;
      rest.push({ kind: 'fraction' });
    }
    if (b.kind !== 'any') rest.push({ kind: b.kind === 'integer' ? 'fraction' : 'integer' });
    if (b.least !== undefined) rest.push({ kind: 'any', most: flip(b.least) });
    if (b.most !== undefined) rest.push({ kind: 'any', least: flip(b.most) });
  }
  return compact(rest.map((range) => intersectNumbers(a, range)));
}

export function hasNumber(set: NumberSet, value: number): boolean {
  if (set.values !== undefined) return set.values.includes(value);
  const exact = decimal(value);
  return (
    (set.kind === 'any' || (set.kind === 'integer') === isInteger(exact)) &&
    isWithin(exact, set.least, 1) &&
    isWithin(exact, set.most, -1) &&
    (set.multipleOf === undefined || isMultiple(exact, set.multipleOf))
  );
}

/** @param side 1: the bound is a least one; -1: a largest one */
function isWithin(value: Decimal, bound: Bound | undefined, side: 1 | -1): boolean {
  if (bound === undefined) return true;
  const order = compare(value, bound.value) * side;
  return order > 0 || (order === 0 && !bound.exclusive);
}

function tighter(a: Bound | undefined, b: Bound | undefined, side: 1 | -1): Bound | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return isWithin(a.value, b, side) ? a : b;
}

function flip({ value, exclusive }: Bound): Bound {
  return { value, exclusive: !exclusive };
}

function isEmptyRange({ least, most, kind }: NumberRange): boolean {
  if (least === undefined || most === undefined) return false;
  const order = compare(least.value, most.value);
  if (order > 0 || (order === 0 && (least.exclusive || most.exclusive))) return true;
  if (kind !== 'integer') return order === 0 && kind === 'fraction' && isInteger(least.value);
  return (
    firstInteger(least) >
    -firstInteger({
      value: { digits: -most.value.digits, scale: most.value.scale },
      exclusive: most.exclusive,
    })
  );
}

/** The least integer that a least bound lets in. */
function firstInteger({ value, exclusive }: Bound): bigint {
  const unit = 10n ** BigInt(value.scale);
  const floor = value.digits / unit - (value.digits % unit < 0n ? 1n : 0n);
  return value.digits % unit !== 0n || exclusive ? floor + 1n : floor;
}

function only(values: readonly number[]): NumberSet | undefined {
  return values.length === 0 ? undefined : { values };
}

function compact(sets: readonly (NumberSet | undefined)[]): NumberSet[] {
  return sets.filter((set) => set !== undefined);
}
