import { invalid, quoted, unsupported } from '../../files/problems';
import { MergeTable } from './merge-table';

/** More than any vocabulary in use has; keeps tables small enough for 32-bit numbers. */
const MAX_MERGES = 2 ** 22;

/**
 * The table of merges, from the two pieces of each, in the order of their ranks.
 * @param pairs as files have them: `"a b"`, or `["a", "b"]`
 * @param order which merge counts when a pair is there twice
 * @throws TramontaneError INVALID_FILE for a merge of pieces that don't exist, or into one
 */
export function readMerges(
  path: string,
  pairs: readonly unknown[],
  ids: ReadonlyMap<string, number>,
  order: 'first' | 'last',
): MergeTable {
  if (pairs.length > MAX_MERGES) throw unsupported(path, `${pairs.length} merges; too many`);
  const table = new MergeTable(pairs.length);
  for (let n = 0; n < pairs.length; n++) {
    const rank = order === 'last' ? n : pairs.length - 1 - n;
    const [leftPiece, rightPiece] = readPair(path, pairs[rank], rank);
    const left = ids.get(leftPiece);
    const right = ids.get(rightPiece);
    const merged = ids.get(leftPiece + rightPiece);
    if (left === undefined || right === undefined || merged === undefined) {
      const missing =
        left === undefined ? leftPiece : right === undefined ? rightPiece : leftPiece + rightPiece;
      const merge = `${quoted(leftPiece)} and ${quoted(rightPiece)}`;
      throw invalid(path, `merge ${rank}, of ${merge}, needs ${quoted(missing)}: no such piece`);
    }
    table.add(rank, left, right, merged);
  }
  return table;
}

function readPair(path: string, pair: unknown, rank: number): readonly [string, string] {
  if (typeof pair === 'string') {
    // The first of the pieces is not empty, but may be a space.
    const space = pair.indexOf(' ', 1);
    if (space > 0 && space < pair.length - 1) return [pair.slice(0, space), pair.slice(space + 1)];
  } else if (Array.isArray(pair) && pair.length === 2) {
    const [left, right] = pair as unknown[];
    if (typeof left === 'string' && typeof right === 'string' && left !== '' && right !== '') {
      return [left, right];
    }
  }
  throw invalid(path, `merge ${rank} is not a pair of pieces`);
}
