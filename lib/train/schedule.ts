import type { TrainSettings } from './options';

/**
 * The learning rate of a step: rises from 0 in `warmup` steps, then falls towards 0, which it would
 * have one step after the last.
 * @param step from 1 on
 * @example 100 steps, warmup 10, linear: 0.1 of the highest at step 1, all of it at 10 and 11, half
 *   at 56
 */
export function learningRate(
  step: number,
  steps: number,
  warmup: number,
  { learningRate: highest, schedule }: Pick<TrainSettings, 'learningRate' | 'schedule'>,
): number {
  if (step <= warmup) return (highest * step) / warmup;
  if (schedule === 'constant') return highest;
  const done = (step - 1 - warmup) / Math.max(1, steps - warmup);
  return highest * (schedule === 'linear' ? 1 - done : (1 + Math.cos(Math.PI * done)) / 2);
}
