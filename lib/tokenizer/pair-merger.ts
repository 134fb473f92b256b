import { CandidateHeap } from './candidate-heap';
import { STEPS } from './slices';

/**
 * The loop of byte-pair encoding (Sennrich et al. 2016), for whatever decides what merges:
 * SentencePiece by score, `tokenizers` by rank.
 *
 * A text starts as a row of nodes, one a character or byte. Again and again the two neighbours with
 * the least priority number, the leftmost of equals, become one node: "l o w" with priorities
 * lo 1, ow 0 becomes "l ow". Candidates wait in a heap; one whose nodes have changed meanwhile is
 * dropped when it comes up. n nodes cost O(n log n), whatever the text.
 *
 * A merger is the working memory of one encoding. Long rows are merged in several calls, so that the
 * event loop can go on between them.
 */
export abstract class PairMerger {
  /** Nodes of the row. */
  protected count = 0;
  /** The node after each, `count` after the last. Nodes merged into their left neighbour are skipped. */
  protected next = new Int32Array(0);
  /** The node before each, -1 before the first. */
  private previous = new Int32Array(0);
  /** Of each node and the one after it, as {@link priority} gave it. */
  private pairPriority = new Float64Array(0);
  /** Pairs of the first nodes are in the heap already. */
  private considered = 0;
  private readonly candidates = new CandidateHeap();

  /** How early the neighbours `left` and `right` merge (less is earlier); NEVER if they don't. */
  protected abstract priority(left: number, right: number): number;
  /** Called when `right` becomes part of `left`, before the neighbours are looked at. */
  protected abstract join(left: number, right: number): void;

  /** Starts on nodes 0 to count - 1. */
  protected begin(count: number): void {
    this.count = count;
    this.considered = 0;
    if (this.next.length <= count) {
      const length = grown(count + 1);
      this.next = new Int32Array(length);
      this.previous = new Int32Array(length);
      this.pairPriority = new Float64Array(length);
    }
    this.next[0] = 1;
    this.previous[0] = -1;
  }

  /** Merges on; true once nothing merges any more, and what is left is 0, next[0], ... */
  protected merge(): boolean {
    const { count, next, previous, pairPriority, candidates } = this;
    let steps = 0;
    for (; this.considered < count; this.considered++) {
      if (steps++ === STEPS) return false;
      const node = this.considered;
      next[node + 1] = node + 2;
      previous[node + 1] = node;
      this.consider(node);
    }
    while (candidates.size > 0) {
      if (steps++ === STEPS) return false;
      const priority = candidates.leastPriority;
      const left = candidates.leastNode;
      candidates.dropLeast();
      // A pair that changed has become longer, so it is another piece: priorities tell them apart
      // unless they are equal, and then its own candidate would come next at the same place.
      if (pairPriority[left] !== priority) continue;
      const right = next[left]!;
      this.join(left, right);
      const after = next[right]!;
      next[left] = after;
      if (after < count) previous[after] = left;
      pairPriority[right] = NEVER;
      this.consider(left);
      const before = previous[left]!;
      if (before >= 0) this.consider(before);
    }
    return true;
  }

  private consider(left: number): void {
    const right = this.next[left]!;
    const priority = right < this.count ? this.priority(left, right) : NEVER;
    this.pairPriority[left] = priority;
    if (priority !== NEVER) this.candidates.add(priority, left);
  }
}

/** Priority of a pair that doesn't merge. */
export const NEVER = Infinity;

/** The length of working memory for a row: some longer ones need no new one. */
export function grown(length: number): number {
  return Math.max(64, 2 * length);
}
