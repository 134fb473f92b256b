import { Facts } from '../facts';
import type { GgufHeader } from './reader';

/** The named values of a GGUF header. */
export class GgufFacts extends Facts {
  constructor(readonly header: GgufHeader) {
    super(header.path);
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
