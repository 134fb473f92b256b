/** What plots have in common: SVG that needs nothing else, light or dark as the page or viewer is. */

/** Of texts and grids. */
export const PLOT_STYLE = `
  svg { background: #fff; color: #222; font: 12px system-ui, sans-serif }
  text { fill: currentColor }
  .title { font-size: 14px; font-weight: 600 }
  .panel { font-weight: 600 }
  .grid { stroke: currentColor; stroke-opacity: .15 }
  polyline { fill: none !important; stroke-width: 2 }
  .point { stroke: none }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181c; color: #ddd }
  }`;

/**
 * An axis from 0 on, of 4 to 8 steps of 1, 2 or 5 times a power of ten, with room above the greatest.
 * @example axis(37) ends at 40, with ticks at 0, 5, ..., 40
 */
export function axis(greatest: number): { end: number; ticks: number[] } {
  if (greatest <= 0) return { end: 1, ticks: [0, 1] };
  const power = 10 ** Math.floor(Math.log10(greatest / 4));
  const step = power * [1, 2, 5, 10].find((times) => greatest / (times * power) <= 8)!;
  const steps = Math.ceil((greatest * 1.02) / step);
  // Products of steps such as 0.1 are off by a rounding error.
  const ticks = Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  return { end: ticks.at(-1)!, ticks };
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
