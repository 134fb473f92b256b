import { Facts } from '../facts';
import type { GgufHeader } from './reader';

/** The named values of a GGUF header. */
export class GgufFacts extends Facts {
  constructor(readonly header: GgufHeader) {
    super(header.path);
  }

  /** Some writers have a number, 0 or 1, for false and true. */
  override boolean(key: string): boolean | undefined {
    const value = this.raw(key);
    return value === 0 || value === 1 ? value === 1 : super.boolean(key);
  }

  override raw(key: string): unknown {
    return this.header.metadata.get(key)?.value;
  }

  protected override at(key: string): number | undefined {
    return this.header.metadata.get(key)?.at;
  }

  has(key: string): boolean {
    return this.header.metadata.has(key);
  }
}
