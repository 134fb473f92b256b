import type { MergeTable } from './merge-table';
import { KEPT_NODES, NEVER, PairMerger } from '../pair-merger';

/** Merges symbols by the ranks of a {@link MergeTable}, as `tokenizers` and GPT-2 do. */
export class RankedMerger extends PairMerger {
  private symbols = new Int32Array(KEPT_NODES);
  private count = 0;

  constructor(private readonly merges: MergeTable) {
    super();
  }

  /** Puts a symbol at the end of the row that is merged next. */
  push(symbol: number): void {
    if (this.count === this.symbols.length) {
      const symbols = new Int32Array(2 * this.count);
      symbols.set(this.symbols);
      this.symbols = symbols;
    }
    this.symbols[this.count++] = symbol;
  }

  /** Merges the row, adds what is left to `ids`, and starts an empty row. */
  finish(ids: number[]): void {
    const { symbols, count } = this;
    this.merge(count);
    for (let node = 0; node < count; node = this.next[node]!) ids.push(symbols[node]!);
    this.count = 0;
  }

  override release(): void {
    super.release();
    if (this.symbols.length > KEPT_NODES) this.symbols = new Int32Array(KEPT_NODES);
  }

  protected priority(left: number, right: number): number {
    const rank = this.merges.rank(this.symbols[left]!, this.symbols[right]!);
    return rank < 0 ? NEVER : rank;
  }

  protected join(left: number, right: number): void {
    const { symbols, merges } = this;
    symbols[left] = merges.merged[merges.rank(symbols[left]!, symbols[right]!)]!;
  }
}
