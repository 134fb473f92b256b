import { CandidateHeap } from './candidate-heap';

/**
 * The loop of byte-pair encoding (Sennrich et al. 2016), for whatever decides what merges:
 * SentencePiece by score, `tokenizers` by rank.
 *
 * A text starts as a row of nodes, one a character or byte. Again and again the two neighbours with
 * the least priority number, the leftmost of equals, become one node: "l o w" with priorities
 * lo 1, ow 0 becomes "l ow". Candidates wait in a heap; one whose nodes have changed meanwhile is
 * dropped when it comes up. n nodes cost O(n log n), whatever the text.
 */
export abstract class PairMerger {
  /** The node after each, `count` after the last. Nodes merged into their left neighbour are skipped. */
  protected next = new Int32Array(0);
  /** The node before each, -1 before the first. */
  private previous = new Int32Array(0);
  /** Of each node and the one after it, as {@link priority} gave it. */
  private pairPriority = new Float64Array(0);
  private readonly candidates = new CandidateHeap();

  /** How early the neighbours `left` and `right` merge (less is earlier); NEVER if they don't. */
  protected abstract priority(left: number, right: number): number;
  /** Called when `right` becomes part of `left`, before the neighbours are looked at. */
  protected abstract join(left: number, right: number): void;

  /** Merges nodes 0 to count - 1 until nothing merges; what is left is 0, next[0], ... */
  protected merge(count: number): void {
    this.reserve(count);
    if (count === 1) {
      this.next[0] = 1;
      return;
    }
    const { next, previous, pairPriority, candidates } = this;
    for (let node = 0; node < count; node++) {
      next[node] = node + 1;
      previous[node] = node - 1;
    }
    for (let node = 0; node < count; node++) this.consider(node, count);
    while (candidates.size > 0) {
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
      this.consider(left, count);
      const before = previous[left]!;
      if (before >= 0) this.consider(before, count);
    }
  }

  /** Gives back the memory a long text took. */
  protected release(): void {
    this.candidates.release();
    if (this.next.length <= KEPT_NODES) return;
    this.next = new Int32Array(0);
    this.reserve(KEPT_NODES);
  }

  private consider(left: number, count: number): void {
    const right = this.next[left]!;
    const priority = right < count ? this.priority(left, right) : NEVER;
    this.pairPriority[left] = priority;
    if (priority !== NEVER) this.candidates.add(priority, left);
  }

  private reserve(count: number): void {
    if (count <= this.next.length) return;
    const length = Math.max(count, KEPT_NODES);
    this.next = new Int32Array(length);
    this.previous = new Int32Array(length);
    this.pairPriority = new Float64Array(length);
  }
}

/** Priority of a pair that doesn't merge. */
export const NEVER = Infinity;

/** Nodes whose memory is kept from one text to the next. */
export const KEPT_NODES = 512;
