/** A binary heap of merges that wait: (priority, node), the least priority and then node first. */
export class CandidateHeap {
  size = 0;
  private priorities = new Float64Array(INITIAL_LENGTH);
  private nodes = new Int32Array(INITIAL_LENGTH);

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

  private grow(): void {
    const { priorities, nodes } = this;
    this.priorities = new Float64Array(2 * nodes.length);
    this.nodes = new Int32Array(2 * nodes.length);
    this.priorities.set(priorities);
    this.nodes.set(nodes);
  }
}

const INITIAL_LENGTH = 64;

function isBefore(priority: number, node: number, thanPriority: number, thanNode: number): boolean {
  return priority < thanPriority || (priority === thanPriority && node < thanNode);
}
