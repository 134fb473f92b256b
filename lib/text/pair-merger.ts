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
    if (this.next.length <= KEPT_NODES) return;
    this.next = new Int32Array(0);
    this.reserve(KEPT_NODES);
    this.candidates.release();
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
export const KEPT_NODES = 4096;

/** A binary heap of (priority, node), least first. */
class CandidateHeap {
  size = 0;
  private priorities = new Float64Array(KEPT_NODES);
  private nodes = new Int32Array(KEPT_NODES);

  get leastPriority(): number {
    return this.priorities[0]!;
  }

  get leastNode(): number {
    return this.nodes[0]!;
  }

  add(priority: number, node: number): void {
    if (this.size === this.nodes.length) this.grow();
    const { priorities, nodes } = this;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(priority, node, priorities[parent]!, nodes[parent]!)) break;
      priorities[at] = priorities[parent]!;
      nodes[at] = nodes[parent]!;
      at = parent;
    }
    priorities[at] = priority;
    nodes[at] = node;
  }

  dropLeast(): void {
    const { priorities, nodes } = this;
    const size = --this.size;
    const priority = priorities[size]!;
    const node = nodes[size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      const sibling = child + 1;
      if (
        sibling < size &&
        isBefore(priorities[sibling]!, nodes[sibling]!, priorities[child]!, nodes[child]!)
      ) {
        child = sibling;
      }
      if (!isBefore(priorities[child]!, nodes[child]!, priority, node)) break;
      priorities[at] = priorities[child]!;
      nodes[at] = nodes[child]!;
      at = child;
    }
    priorities[at] = priority;
    nodes[at] = node;
  }

  release(): void {
    this.priorities = new Float64Array(KEPT_NODES);
    this.nodes = new Int32Array(KEPT_NODES);
  }

  private grow(): void {
    const { priorities, nodes } = this;
    this.priorities = new Float64Array(2 * nodes.length);
    this.nodes = new Int32Array(2 * nodes.length);
    this.priorities.set(priorities);
    this.nodes.set(nodes);
  }
}

function isBefore(priority: number, node: number, thanPriority: number, thanNode: number): boolean {
  return priority < thanPriority || (priority === thanPriority && node < thanNode);
}
