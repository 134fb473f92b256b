/** Throughput against latency as an SVG that needs nothing else: one point a concurrency. */
import { escape, PLOT_STYLE, PlotFrame, round } from '../svg';
import type { Result } from './result';
import { show } from './table';

const WIDTH = 460;
const HEIGHT = 320;
const EDGES = { left: 64, right: WIDTH - 24, top: 40, bottom: HEIGHT - 52 };
const LEGEND = 56;

const STYLE = `${PLOT_STYLE}
  .median { stroke: #1764ab; fill: #1764ab }
  .p99 { stroke: #b8500a; fill: #b8500a }
  polyline.p99 { stroke-dasharray: 6 4 }
  @media (prefers-color-scheme: dark) {
    .median { stroke: #6cb2f5; fill: #6cb2f5 }
    .p99 { stroke: #f5a25d; fill: #f5a25d }
  }`;

interface Panel {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly x: (result: Result) => number;
  readonly median: (result: Result) => number;
  readonly p99: (result: Result) => number;
}

const PANELS: readonly Panel[] = [
  {
    title: 'Time to first token',
    xName: 'requests/s',
    yName: 'TTFT, ms',
    x: (result) => result.request_throughput,
    median: (result) => result.median_ttft_ms,
    p99: (result) => result.p99_ttft_ms,
  },
  {
    title: 'Time per output token',
    xName: 'output tokens/s',
    yName: 'TPOT, ms',
    x: (result) => result.output_throughput,
    median: (result) => result.median_tpot_ms,
    p99: (result) => result.p99_tpot_ms,
  },
];

/** @param results runs of different concurrencies; those nothing completed in are left out */
export function plot(results: readonly Result[]): string {
  const shown = results.filter(({ completed }) => completed > 0);
  const width = PANELS.length * WIDTH;
  const title = `${results[0]!.model_id}, ${results[0]!.backend}: throughput and latency`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT + LEGEND}" \
width="${width}" height="${HEIGHT + LEGEND}" role="img" aria-label="${escape(title)}">
<style>${STYLE}
</style>
<text class="title" x="16" y="24">${escape(title)}</text>
<circle class="median point" cx="22" cy="43" r="4"/><text x="32" y="47">median</text>
<rect class="p99 point" x="94" y="39" width="8" height="8"/><text x="108" y="47">99th percentile; \
the numbers are requests at once</text>
${PANELS.map((panel, index) => drawPanel(panel, shown, index * WIDTH)).join('\n')}
</svg>
`;
}

function drawPanel(panel: Panel, results: readonly Result[], offset: number): string {
  const { x, median, p99 } = panel;
  const frame = new PlotFrame(
    EDGES,
    Math.max(0, ...results.map(x)),
    Math.max(0, ...results.map(median), ...results.map(p99)),
  );
  const line = (kind: 'median' | 'p99') =>
    frame.line(
      kind,
      results.map((one) => [x(one), panel[kind](one)] as const),
    );
  const points = results.map((one) => {
    const [cx, cy, above] = [frame.x(x(one)), frame.y(median(one)), frame.y(p99(one))];
    const says = (name: string, value: number) =>
      `<title>${one.max_concurrency ?? 'all'} at once: ${show(x(one))} ${panel.xName}, ` +
      `${name} ${panel.yName.split(',')[0]!} ${show(value)} ms</title>`;
    return (
      `<circle class="median point" cx="${cx}" cy="${cy}" r="4">` +
      `${says('median', median(one))}</circle>` +
      `<rect class="p99 point" x="${round(cx - 4)}" y="${round(above - 4)}" width="8" height="8">` +
      `${says('p99', p99(one))}</rect>` +
      `<text x="${cx}" y="${round(above - 9)}" text-anchor="middle">` +
      `${one.max_concurrency ?? 'all'}</text>`
    );
  });
  return `<g transform="translate(${offset} ${LEGEND})">
<text class="panel" x="${EDGES.left}" y="22">${panel.title}</text>
${frame.grid(panel.xName, panel.yName, 40)}
${line('median')}
${line('p99')}
${points.join('\n')}
</g>`;
}
