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

/** The edges of what lies between a plot's axes. */
interface Edges {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A plot's axes, both from 0 on, and where values lie between them. */
export class PlotFrame {
  readonly #edges: Edges;
  readonly #across: ReturnType<typeof axis>;
  readonly #up: ReturnType<typeof axis>;

  /** @param mostX the greatest value across, and `mostY` the greatest upwards */
  constructor(edges: Edges, mostX: number, mostY: number) {
    this.#edges = edges;
    this.#across = axis(mostX);
    this.#up = axis(mostY);
  }

  readonly x = (value: number): number => {
    const { left, right } = this.#edges;
    return round(left + (value / this.#across.end) * (right - left));
  };

  readonly y = (value: number): number => {
    const { top, bottom } = this.#edges;
    return round(bottom - (value / this.#up.end) * (bottom - top));
  };

  /** @param kind its class */
  line(kind: string, points: readonly (readonly [number, number])[]): string {
    const places = points.map(([x, y]) => `${this.x(x)},${this.y(y)}`);
    return `<polyline class="${kind}" points="${places.join(' ')}"/>`;
  }

  /**
   * The grid with its numbers, and the names of the axes.
   * @param below where the name of the one across is, from the bottom edge
   */
  grid(xName: string, yName: string, below: number): string {
    const { left, right, top, bottom } = this.#edges;
    const rows = this.#up.ticks.map((tick) => {
      const y = this.y(tick);
      return (
        `<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>` +
        `<text x="${left - 8}" y="${y + 4}" text-anchor="end">${tick}</text>`
      );
    });
    const columns = this.#across.ticks.map((tick) => {
      const x = this.x(tick);
      return (
        `<line class="grid" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>` +
        `<text x="${x}" y="${bottom + 18}" text-anchor="middle">${tick}</text>`
      );
    });
    const names = [
      `<text x="${(left + right) / 2}" y="${bottom + below}" text-anchor="middle">${xName}</text>`,
      `<text transform="translate(14 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${yName}</text>`,
    ];
    return [...rows, ...columns, ...names].join('\n');
  }
}
