/** The losses of a training as an SVG: by step, and where samples were kept apart, of those too. */
import { escape, PLOT_STYLE, PlotFrame } from '../svg';
import type { LossPoint } from './losses';

const WIDTH = 640;
const HEIGHT = 360;
const EDGES = { left: 56, right: WIDTH - 20, top: 56, bottom: HEIGHT - 48 };

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
  const frame = new PlotFrame(
    EDGES,
    Math.max(0, ...points.map(({ step }) => step)),
    [...training, ...evaluation].reduce((most, [, loss]) => Math.max(most, loss), 0),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" \
width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escape(title)}">
<style>${STYLE}
</style>
<text class="title" x="16" y="22">${escape(title)}</text>
<circle class="training point" cx="22" cy="39" r="4"/><text x="32" y="43">training</text>
<circle class="evaluation point" cx="102" cy="39" r="4"/><text x="112" y="43">kept apart</text>
${frame.grid('steps', 'loss, nats a token', 38)}
${frame.line('training', training)}
${frame.line('evaluation', evaluation)}
${evaluation
  .map(
    ([step, loss]) =>
      `<circle class="evaluation point" cx="${frame.x(step)}" cy="${frame.y(loss)}" r="3">` +
      `<title>step ${step}: ${loss.toFixed(4)}</title></circle>`,
  )
  .join('\n')}
</svg>
`;
}
