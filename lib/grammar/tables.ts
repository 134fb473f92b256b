import { GrammarError } from '../errors';

/** Half of what native takes, and eight times what the largest real schemas need. */
const MOST_NODES = 2 ** 19;

/** A network's tables while they grow. */
export class Tables {
  private nodes = new Int32Array(4 * 256);
  private mostOf = new Int32Array(256);
  private edges = new Int32Array(256);
  private edgeCount = 0;
  count = 0;

  add(op: number, a: number, b: number, next: number): number {
    if (this.count >= MOST_NODES) {
      const message = `the grammar is too large: it needs more than ${MOST_NODES} nodes`;
      throw new GrammarError(message, { keyword: 'grammar' });
    }
    if (this.count === this.mostOf.length) {
      this.nodes = grown(this.nodes, this.nodes.length + 1);
      this.mostOf = grown(this.mostOf, this.mostOf.length + 1);
    }
    this.set(this.count, op, a, b, next);
    return this.count++;
  }

  set(node: number, op: number, a: number, b: number, next: number): void {
    this.nodes[4 * node] = op;
    this.nodes[4 * node + 1] = a;
    this.nodes[4 * node + 2] = b;
    this.nodes[4 * node + 3] = next;
  }

  setMost(node: number, most: number): void {
    this.mostOf[node] = most;
  }

  /** Makes `to` the same as `from`. */
  copy(from: number, to: number): void {
    this.nodes.copyWithin(4 * to, 4 * from, 4 * from + 4);
    this.mostOf[to] = this.mostOf[from]!;
  }

  a(node: number): number {
    return this.nodes[4 * node + 1]!;
  }

  setA(node: number, a: number): void {
    this.nodes[4 * node + 1] = a;
  }

  /** @returns where `targets` begin */
  addEdges(targets: readonly number[]): number {
    const first = this.edgeCount;
    this.edges = grown(this.edges, first + targets.length);
    this.edges.set(targets, first);
    this.edgeCount += targets.length;
    return first;
  }

  finish(): { nodes: Int32Array; edges: Int32Array; most: Int32Array } {
    return {
      nodes: this.nodes.slice(0, 4 * this.count),
      edges: this.edges.slice(0, this.edgeCount),
      most: this.mostOf.slice(0, this.count),
    };
  }
}

function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  if (length <= array.length) return array;
  const larger = new Int32Array(Math.max(2 * array.length, length));
  larger.set(array);
  return larger;
}
