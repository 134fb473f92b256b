/** From ids back to text, for vocabularies with ranked merges. */
import { bytesOfPiece } from './byte-level/byte-level';
import { byteOfPiece } from './vocabulary';
import { REPLACEMENT } from './utf8';

/** Ids are in range. */
export interface Decoder {
  text(ids: readonly number[]): string;
  /** The bytes of one id in the middle of a text. */
  bytes(id: number): Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

/** For byte-level BPE: the bytes of all pieces, read as UTF-8. */
export class ByteLevelDecoder implements Decoder {
  /**
   * @param skipped ids that add nothing: control tokens
   * @param raw ids whose pieces are text as it is, not in the alphabet of bytes
   */
  constructor(
    private readonly pieces: readonly string[],
    private readonly skipped: ReadonlySet<number>,
    private readonly raw: ReadonlySet<number> = new Set(),
  ) {}

  text(ids: readonly number[]): string {
    return Buffer.concat(ids.map((id) => this.bytes(id))).toString('utf8');
  }

  bytes(id: number): Uint8Array {
    if (this.skipped.has(id)) return NO_BYTES;
    const piece = this.pieces[id]!;
    return this.raw.has(id) ? new TextEncoder().encode(piece) : bytesOfPiece(piece);
  }
}

/** What a `decoder` of tokenizer.json says, in this order. */
export interface CharacterDecoding {
  /** Applied to each piece: `▁` to a space. */
  readonly replacements: readonly (readonly [from: string, to: string])[];
  /** Whether `<0x0A>` stands for a byte. */
  readonly byteFallback: boolean;
  /** Characters taken off the start of the whole text, each so many times at most. */
  readonly strips: readonly { readonly content: string; readonly count: number }[];
}

/** For pieces that are text. */
export class CharacterDecoder implements Decoder {
  constructor(
    private readonly pieces: readonly string[],
    private readonly skipped: ReadonlySet<number>,
    private readonly decoding: CharacterDecoding,
  ) {}

  text(ids: readonly number[]): string {
    const { byteFallback, strips } = this.decoding;
    let text = '';
    let run: number[] = [];
    for (const id of ids) {
      if (this.skipped.has(id)) continue;
      const piece = this.pieces[id]!;
      const byte = byteFallback ? byteOfPiece(piece) : -1;
      if (byte >= 0) run.push(byte);
      else {
        text += textOfRun(run) + this.replaced(piece);
        run = [];
      }
    }
    text += textOfRun(run);
    for (const { content, count } of strips) {
      let start = 0;
      while (start < count && text[start] === content) start++;
      text = text.slice(start);
    }
    return text;
  }

  bytes(id: number): Uint8Array {
    if (this.skipped.has(id)) return NO_BYTES;
    const piece = this.pieces[id]!;
    const byte = this.decoding.byteFallback ? byteOfPiece(piece) : -1;
    return byte >= 0 ? Uint8Array.of(byte) : new TextEncoder().encode(this.replaced(piece));
  }

  private replaced(piece: string): string {
    return this.decoding.replacements.reduce(
      (text, [from, to]) => text.replaceAll(from, () => to),
      piece,
    );
  }
}

/** As `tokenizers` does it: if any byte of a run is wrong, each becomes U+FFFD. */
function textOfRun(bytes: readonly number[]): string {
  const text = Buffer.from(bytes).toString('utf8');
  return text.includes(REPLACEMENT) && Buffer.compare(Buffer.from(text), Buffer.from(bytes)) !== 0
    ? REPLACEMENT.repeat(bytes.length)
    : text;
}
