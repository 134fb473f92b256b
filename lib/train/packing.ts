/** Samples put one after another into sequences, so that no time goes into padding. */
import type { NativeSequence } from '../model/native';
import type { Sample } from './samples';

/** Sequences that are still looked at for room. */
const MOST_OPEN = 64;

/** Each sample goes into the first sequence with room. Their order is that of their first samples. */
export function pack(
  samples: readonly Sample[],
  sequenceLength: number,
  packing: boolean,
): NativeSequence[] {
  const bins: { samples: Sample[]; room: number }[] = [];
  let firstOpen = 0;
  for (const sample of samples) {
    const { length } = sample.tokens;
    let bin = undefined;
    for (let i = firstOpen; packing && i < bins.length; i++) {
      if (bins[i]!.room < length) continue;
      bin = bins[i]!;
      break;
    }
    if (bin === undefined) {
      bin = { samples: [], room: sequenceLength };
      bins.push(bin);
      firstOpen = Math.max(firstOpen, bins.length - MOST_OPEN);
    }
    bin.samples.push(sample);
    bin.room -= length;
  }
  return bins.map(({ samples: together }) => joined(together));
}

function joined(samples: readonly Sample[]): NativeSequence {
  const length = samples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tokens = new Int32Array(length);
  const labels = new Int32Array(length);
  const starts = new Int32Array(samples.length);
  let at = 0;
  samples.forEach((sample, index) => {
    tokens.set(sample.tokens, at);
    labels.set(sample.labels, at);
    starts[index] = at;
    at += sample.tokens.length;
  });
  return { tokens, labels, starts };
}

/** Tokens of sequences that are learned. */
export function learnedTokens(sequences: readonly NativeSequence[]): number {
  let count = 0;
  for (const { labels } of sequences) for (const label of labels) if (label >= 0) count++;
  return count;
}
