/** An exact number: `digits * 10 ** -scale`. The scale is at least 0. */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

export const ZERO: Decimal = { digits: 0n, scale: 0 };

/** The shortest decimal that reads as this double: what was written, up to 17 digits of it. */
export function decimal(value: number): Decimal {
  const [mantissa = '', exponent = '0'] = String(value).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return scale >= 0
    ? shorten({ digits, scale })
    : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

export function compare(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale);
  const difference = digitsAt(a, scale) - digitsAt(b, scale);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export function negate({ digits, scale }: Decimal): Decimal {
  return { digits: -digits, scale };
}

export function isInteger({ scale }: Decimal): boolean {
  return scale === 0;
}

export function isMultiple(value: Decimal, of: Decimal): boolean {
  const scale = Math.max(value.scale, of.scale);
  return digitsAt(value, scale) % digitsAt(of, scale) === 0n;
}

/** The least number that both divide. */
export function leastCommonMultiple(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  const [x, y] = [digitsAt(a, scale), digitsAt(b, scale)];
  let [divisor, rest] = [x, y];
  while (rest !== 0n) [divisor, rest] = [rest, divisor % rest];
  return shorten({ digits: (x / divisor) * y, scale });
}

export function digitsAt({ digits, scale }: Decimal, wanted: number): bigint {
  return digits * 10n ** BigInt(wanted - scale);
}

export function format(value: Decimal): string {
  const digits = String(value.digits < 0n ? -value.digits : value.digits).padStart(
    value.scale + 1,
    '0',
  );
  const whole = digits.slice(0, digits.length - value.scale);
  const fraction = value.scale === 0 ? '' : `.${digits.slice(-value.scale)}`;
  return `${value.digits < 0n ? '-' : ''}${whole}${fraction}`;
}

function shorten({ digits, scale }: Decimal): Decimal {
  while (scale > 0 && digits % 10n === 0n) {
    digits /= 10n;
    scale--;
  }
  return { digits, scale };
}
