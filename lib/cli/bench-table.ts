/** The rows of a bench's table. */
import { paint } from './style';
import type { Range } from './statistics';

/** @example decode 64               5.3 tokens/s  (5.1 to 5.4)        73.0% of the bandwidth */
export function row(name: string, value: number, unit: string, range: Range, share = ''): string {
  return (
    `${name.padEnd(18)}${paint('bold', show(value).padStart(10))} ${unit.padEnd(10)}` +
    `${`(${show(range[0])} to ${show(range[1])})`.padEnd(20)}${share}`.trimEnd() +
    '\n'
  );
}

export function show(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}
