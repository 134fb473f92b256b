/**
 * Places where a text can be cut without changing what its parts merge into: between two characters
 * that are neighbours in no piece of the vocabulary, no merge can ever reach across. No piece of
 * Mistral's has a space after a letter, so there "▁the▁end" is cut before "▁end". What merges is
 * then short, and its candidates lie in the cache.
 */
export class Seams {
  /** A bit for each hash of two UTF-16 units that some piece has side by side. */
  private readonly neighbours = new Uint32Array(HASHES / 32);

  constructor(pieces: Iterable<string>) {
    for (const piece of pieces) {
      let left = piece.charCodeAt(0);
      for (let i = 1; i < piece.length; i++) {
        const right = piece.charCodeAt(i);
        const hash = hashOf(left, right);
        this.neighbours[hash >>> 5]! |= 1 << (hash & 31);
        left = right;
      }
    }
  }

  /** The end of the part of the text that starts at `start`. */
  endOfPart(text: string, start: number): number {
    let left = text.charCodeAt(start);
    for (let at = start + 1; at < text.length; at++) {
      const right = text.charCodeAt(at);
      const hash = hashOf(left, right);
      const joined = (this.neighbours[hash >>> 5]! >>> (hash & 31)) & 1;
      const isLowSurrogate = (right & 0xfc00) === 0xdc00;
      if (joined === 0 && !isLowSurrogate) return at;
      left = right;
    }
    return text.length;
  }
}

/** Enough that different pairs rarely share a bit; where they do, a cut is missed, no more. */
const HASHES = 2 ** 17;

function hashOf(left: number, right: number): number {
  return ((left << 10) ^ right) & (HASHES - 1);
}
