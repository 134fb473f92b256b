/**
 * The alphabet of byte-level BPE (GPT-2): a character for each byte, so that pieces are printable.
 * Bytes that are visible in Latin-1 stand for themselves; the others, in order, for U+0100 and up:
 * a space (0x20) is Ġ, a newline Ċ.
 */
export const BYTE_CHARACTERS: readonly string[] = alphabet();

const byteOfCharacter = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

function alphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(isVisible ? byte : next++);
  });
}

/** The bytes a piece stands for. A piece with any other character stands for its own UTF-8. */
export function bytesOfPiece(piece: string): Uint8Array {
  const bytes = new Uint8Array(piece.length);
  for (let i = 0; i < piece.length; i++) {
    const byte = byteOfCharacter.get(piece[i]!);
    if (byte === undefined) return new TextEncoder().encode(piece);
    bytes[i] = byte;
  }
  return bytes;
}

/** Bytes in the alphabet: `" a"` in UTF-8 is `"Ġa"`. */
export function pieceOfBytes(bytes: Uint8Array): string {
  let piece = '';
  for (const byte of bytes) piece += BYTE_CHARACTERS[byte]!;
  return piece;
}
