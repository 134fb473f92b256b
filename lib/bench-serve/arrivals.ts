import type { Random } from './random';

export interface Traffic {
  /** Requests a second; Infinity sends all at once. */
  readonly rate: number;
  /** Shape of the gaps' gamma distribution: 1 is a Poisson process, less comes in bursts. */
  readonly burstiness: number;
}

/**
 * When requests arrive, in seconds from the start. As in vLLM they are stretched so that the last
 * one comes at `count / rate`, and the rate is the one asked for with any seed.
 */
export function arrivals(count: number, { rate, burstiness }: Traffic, random: Random): number[] {
  if (rate === Infinity) return Array.from({ length: count }, () => 0);
  const times: number[] = [];
  let time = 0;
  for (let index = 0; index < count; ++index) {
    time += burstiness === Infinity ? 1 : random.gamma(burstiness);
    times.push(time);
  }
  // Gaps of a tiny burstiness can all be zero.
  const scale = time === 0 ? 0 : count / rate / time;
  return times.map((at) => at * scale);
}
