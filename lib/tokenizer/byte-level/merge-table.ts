/** Merges of a byte-pair encoding: from the ids of two neighbours to a rank and the id they make. */
export class MergeTable {
  /** Open addressing: a slot holds a merge's number plus one, 0 if empty. */
  private readonly slots: Int32Array;
  private readonly mask: number;
  private readonly lefts: Int32Array;
  private readonly rights: Int32Array;
  /** The id that each merge makes; a merge's number is its rank. */
  readonly merged: Int32Array;

  /** A table for at most `capacity` merges. */
  constructor(capacity: number) {
    // At most half full, so a search looks at two slots or so.
    const length = 2 ** Math.ceil(Math.log2(2 * capacity + 2));
    this.slots = new Int32Array(length);
    this.mask = length - 1;
    this.lefts = new Int32Array(capacity);
    this.rights = new Int32Array(capacity);
    this.merged = new Int32Array(capacity);
  }

  /** Adds the merge numbered `rank`. Of merges of the same pair the one added last counts. */
  add(rank: number, left: number, right: number, merged: number): void {
    this.lefts[rank] = left;
    this.rights[rank] = right;
    this.merged[rank] = merged;
    this.slots[this.slotOf(left, right)] = rank + 1;
  }

  /** The rank of a pair's merge, -1 if it has none. */
  rank(left: number, right: number): number {
    return this.slots[this.slotOf(left, right)]! - 1;
  }

  /** Whether one of these ids is a part of some merge. */
  involves(ids: ReadonlySet<number>): boolean {
    return this.lefts.some((id) => ids.has(id)) || this.rights.some((id) => ids.has(id));
  }

  /** Where the pair is, or would be. */
  private slotOf(left: number, right: number): number {
    const { slots, lefts, rights, mask } = this;
    let slot = hashOf(left, right) & mask;
    for (;;) {
      const rank = slots[slot]! - 1;
      if (rank < 0 || (lefts[rank] === left && rights[rank] === right)) return slot;
      slot = (slot + 1) & mask;
    }
  }
}

/** Spreads neighbouring ids over all bits: products with odd constants, high bits folded down. */
function hashOf(left: number, right: number): number {
  const product = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return product ^ (product >>> 15);
}
