/** Logits and likelihoods of a text, which native computes in one request. */
import { TramontaneError } from '../errors';
import { fromNative, type NativeEvent, type NativeScoreOptions } from './native';
import type { Receiver, Requests } from './requests';

/**
 * The negative log-likelihood of tokens `first` to n-1, each given all before it; with `positions`,
 * logits of these into `out`.
 */
export function score(
  requests: Requests,
  tokens: Int32Array,
  options: NativeScoreOptions,
  positions?: Int32Array,
  out?: Float32Array,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const receiver: Receiver = {
      receive({ finish, negativeLogLikelihood, error }: NativeEvent) {
        if (finish === 'scored') resolve(negativeLogLikelihood ?? NaN);
        else if (finish === 'failed') reject(fromNative(error));
        else reject(new TramontaneError('DISPOSED', 'the model was disposed'));
      },
      deliver: () => undefined,
      fail: reject,
    };
    const route = requests.start(receiver, (native, id) => {
      native.score(id, tokens, options, positions, out);
    });
    route.await(true);
  });
}

/** @returns [asked][vocabularySize] */
export async function computeLogits(
  requests: Requests,
  tokens: Int32Array,
  options: NativeScoreOptions,
  asked: Int32Array,
  vocabularySize: number,
): Promise<Float32Array> {
  // Native computes each position once, in ascending order.
  const positions = Int32Array.from(new Set(asked)).sort();
  const computed = allocate(positions.length, vocabularySize);
  await score(requests, tokens, options, positions, computed);
  if (
    positions.length === asked.length &&
    positions.every((position, i) => position === asked[i])
  ) {
    return computed;
  }
  const rowOf = new Map(Array.from(positions, (position, row) => [position, row]));
  const out = allocate(asked.length, vocabularySize);
  asked.forEach((position, row) => {
    const from = rowOf.get(position)! * vocabularySize;
    out.set(computed.subarray(from, from + vocabularySize), row * vocabularySize);
  });
  return out;
}

function allocate(positions: number, vocabularySize: number): Float32Array {
  try {
    return new Float32Array(positions * vocabularySize);
  } catch (cause) {
    const bytes = positions * vocabularySize * Float32Array.BYTES_PER_ELEMENT;
    throw new TramontaneError(
      'OUT_OF_MEMORY',
      `the logits of ${positions} positions need ${bytes} bytes: ask for fewer at once`,
      { cause },
    );
  }
}
