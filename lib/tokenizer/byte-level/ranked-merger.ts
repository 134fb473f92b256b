import type { MergeTable } from './merge-table';
import { grown, NEVER, PairMerger } from '../pair-merger';
import { STEPS } from '../slices';

/** Merges symbols by the ranks of a {@link MergeTable}, as `tokenizers` and GPT-2 do. */
export class RankedMerger extends PairMerger {
  private symbols = new Int32Array(grown(0));
  private pushed = 0;
  /** The node whose id is added next. */
  private emitted = 0;

  constructor(
    private readonly merges: MergeTable,
    private readonly ids: number[],
  ) {
    super();
  }

  /** Puts a symbol at the end of the row that is merged next. */
  push(symbol: number): void {
    if (this.pushed === this.symbols.length) {
      const symbols = new Int32Array(grown(this.pushed));
      symbols.set(this.symbols);
      this.symbols = symbols;
    }
    this.symbols[this.pushed++] = symbol;
  }

  /** Starts merging the row. */
  start(): void {
    this.begin(this.pushed);
    this.emitted = 0;
  }

  /** Merges on, and adds what is left; true once all is there, and the next row may be pushed. */
  finish(): boolean {
    if (!this.merge() || !this.emit()) return false;
    this.pushed = 0;
    return true;
  }

  protected priority(left: number, right: number): number {
    const rank = this.merges.rank(this.symbols[left]!, this.symbols[right]!);
    return rank < 0 ? NEVER : rank;
  }

  protected join(left: number, right: number): void {
    const { symbols, merges } = this;
    symbols[left] = merges.merged[merges.rank(symbols[left]!, symbols[right]!)]!;
  }

  private emit(): boolean {
    const { ids, next, symbols, count } = this;
    for (let steps = 0; this.emitted < count; steps++) {
      if (steps === STEPS) return false;
      ids.push(symbols[this.emitted]!);
      this.emitted = next[this.emitted]!;
    }
    return true;
  }
}
