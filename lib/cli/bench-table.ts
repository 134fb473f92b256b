/** The rows of a bench's table: at most 80 columns. */
import { paint } from './style';
import type { Figure } from './statistics';

const NAME_WIDTH = 16;

/** @example decode at 64       5.3 tokens/s (5.1 to 5.4)      73.0% of the bandwidth */
export function row(name: string, { value, range }: Figure, unit: string, share = ''): string {
  const [least, greatest] = range;
  const middle = paint('bold', show(value).padStart(8));
  const between = least === greatest ? '' : `(${show(least)} to ${show(greatest)})`;
  const line = `${name.padEnd(NAME_WIDTH)}${middle} ${unit.padEnd(9)}${between.padEnd(18)}${share}`;
  return `${line.trimEnd()}\n`;
}

/** @example '  runs at GB/s  5.3 at 29.1, 5.1 at 27.0, 5.4 at 29.3' */
export function listRow(name: string, values: readonly string[]): string {
  const lines = [];
  for (let first = 0; first < values.length; first += 4) {
    lines.push(
      (first === 0 ? name : '').padEnd(NAME_WIDTH) + values.slice(first, first + 4).join(', '),
    );
  }
  return lines.join(',\n') + '\n';
}

export function show(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}
