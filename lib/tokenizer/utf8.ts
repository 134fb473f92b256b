/**
 * Length in bytes of the UTF-8 character that starts at `at`: 1 to 4; 0 when no character starts
 * with these bytes; -1 when the bytes end before that is known.
 *
 * The first two bytes of a surrogate, ed a0, count as unknown: Python's incremental decoder waits
 * for the third byte there, and streams are to be cut as it cuts them.
 * @example characterLength([0xe2, 0x98], 0) === -1; characterLength([0xe2, 0x41], 0) === 0
 */
export function characterLength(bytes: ArrayLike<number>, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (let i = 1; i < length; i++) {
    if (at + i === bytes.length) return -1;
    const byte = bytes[at + i]!;
    if ((byte & 0xc0) !== 0x80 || (i === 1 && isOverlongOrBeyond(lead, byte))) return 0;
  }
  return lead === 0xed && bytes[at + 1]! >= 0xa0 ? 0 : length;
}

/** Whether a second byte makes a form that is longer than need be, or more than U+10FFFF. */
function isOverlongOrBeyond(lead: number, second: number): boolean {
  return (
    (lead === 0xe0 && second < 0xa0) ||
    (lead === 0xf0 && second < 0x90) ||
    (lead === 0xf4 && second >= 0x90)
  );
}

/** U+FFFD, which takes the place of bytes that are not UTF-8. */
export const REPLACEMENT = '\ufffd';
