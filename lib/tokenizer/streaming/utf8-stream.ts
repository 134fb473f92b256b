import { characterLength } from '../utf8';

/**
 * Turns bytes that come in pieces into text, whole characters only. Bytes that are not UTF-8 become
 * U+FFFD as soon as that is known, one for each maximal broken part, as TextDecoder does it.
 * @example f0 9f 98 gives "", then 80 gives "😀"; f0 9f, then 41 gives "�A"
 */
export class Utf8Stream {
  /** The beginning of a character: three bytes at most. */
  private pending: Buffer = Buffer.alloc(0);

  /** The text that is complete with these bytes. */
  push(bytes: Uint8Array): string {
    if (bytes.length === 0) return '';
    const all =
      this.pending.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.pending, bytes]);
    const end = startOfIncomplete(all);
    this.pending = all.subarray(end);
    return all.toString('utf8', 0, end);
  }

  /** The end of the bytes: what is left of a character that was cut short, one U+FFFD or nothing. */
  flush(): string {
    const text = this.pending.toString('utf8');
    this.pending = Buffer.alloc(0);
    return text;
  }
}

/** Where the beginning of a character that the bytes cut short starts; their end if there is none. */
function startOfIncomplete(bytes: Buffer): number {
  for (let at = Math.max(0, bytes.length - 3); at < bytes.length; at++) {
    // The lead byte of a longer character that is complete is skipped with the rest: what follows
    // a lead byte can't itself start a character.
    if (characterLength(bytes, at) === -1) return at;
  }
  return bytes.length;
}
