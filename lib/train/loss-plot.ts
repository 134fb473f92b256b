/** The losses of a training as an SVG: by step, and where samples were kept apart, of those too. */
import { axis, escape, PLOT_STYLE, round } from '../svg';
import type { LossPoint } from './losses';

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 56;
const RIGHT = 20;
const TOP = 56;
const BOTTOM = 48;

const STYLE = `${PLOT_STYLE}
  .training { stroke: #1764ab; fill: #1764ab }
  .evaluation { stroke: #b8500a; fill: #b8500a }
  @media (prefers-color-scheme: dark) {
    .training { stroke: #6cb2f5; fill: #6cb2f5 }
    .evaluation { stroke: #f5a25d; fill: #f5a25d }
  }`;

type Point = readonly [step: number, loss: number];

export function plotLosses(title: string, points: readonly LossPoint[]): string {
  const of = (name: 'loss' | 'evaluationLoss'): Point[] =>
    points.flatMap((point) => {
      const loss = point[name];
      return loss === undefined ? [] : [[point.step, loss] as const];
    });
  const training = of('loss');
  const evaluation = of('evaluationLoss');
  const across = axis(Math.max(0, ...points.map(({ step }) => step)));
  const up = axis([...training, ...evaluation].reduce((most, [, loss]) => Math.max(most, loss), 0));
  const bottom = HEIGHT - BOTTOM;
  const toX = (step: number) => round(LEFT + (step / across.end) * (WIDTH - LEFT - RIGHT));
  const toY = (loss: number) => round(bottom - (loss / up.end) * (bottom - TOP));
  const line = (kind: string, all: readonly Point[]) =>
    `<polyline class="${kind}" points="${all.map(([x, y]) => `${toX(x)},${toY(y)}`).join(' ')}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" \
width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escape(title)}">
<style>${STYLE}
</style>
<text class="title" x="16" y="22">${escape(title)}</text>
<circle class="training point" cx="22" cy="39" r="4"/><text x="32" y="43">training</text>
<circle class="evaluation point" cx="102" cy="39" r="4"/><text x="112" y="43">kept apart</text>
${up.ticks
  .map(
    (tick) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${toY(tick)}" y2="${toY(tick)}"/>` +
      `<text x="${LEFT - 8}" y="${toY(tick) + 4}" text-anchor="end">${tick}</text>`,
  )
  .join('\n')}
${across.ticks
  .map(
    (tick) =>
      `<line class="grid" x1="${toX(tick)}" x2="${toX(tick)}" y1="${TOP}" y2="${bottom}"/>` +
      `<text x="${toX(tick)}" y="${bottom + 18}" text-anchor="middle">${tick}</text>`,
  )
  .join('\n')}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">steps</text>
<text transform="translate(14 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">\
loss, nats a token</text>
${line('training', training)}
${line('evaluation', evaluation)}
${evaluation
  .map(
    ([step, loss]) =>
      `<circle class="evaluation point" cx="${toX(step)}" cy="${toY(loss)}" r="3">` +
      `<title>step ${step}: ${loss.toFixed(4)}</title></circle>`,
  )
  .join('\n')}
</svg>
`;
}
