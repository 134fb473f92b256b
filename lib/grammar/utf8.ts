import type { CharacterRange } from './expression';

/** Makes a node that takes one byte of a range and goes on at `next`. */
type AddBytes = (first: number, last: number, next: number) => number;
/** Makes a node that goes on at any of several. */
type AddSplit = (nodes: readonly number[]) => number;

/** First and last character of each length in UTF-8, and the first byte without its bits. */
const LENGTHS = [
  [0, 0x7f, 0],
  [0x80, 0x7ff, 0xc0],
  [0x800, 0xffff, 0xe0],
  [0x10000, 0x10ffff, 0xf0],
] as const;

/**
 * The nodes that take one character of `ranges`, sorted and disjoint, as UTF-8 and go on at `next`.
 * No two of them take the same byte, here and after each byte: the characters' bytes form a trie,
 * whose equal parts are made once.
 */
export function encodeCharacters(
  ranges: readonly CharacterRange[],
  next: number,
  addBytes: AddBytes,
  addSplit: AddSplit,
): number[] {
  const known = new Map<string, number>();

  /** By the byte that has `shift` bits of the character after it. */
  const encode = (list: readonly CharacterRange[], shift: number, base: number): number[] => {
    if (shift === 0) return list.map(([first, last]) => addBytes(base + first, base + last, next));
    const edges: [number, number, number][] = [];
    for (const [first, last, inside] of blocks(list, shift)) {
      const key = `${shift}:${inside.join(';')}`;
      let after = known.get(key);
      if (after === undefined) {
        const nodes = encode(inside, shift - 6, 0x80);
        known.set(key, (after = nodes.length === 1 ? nodes[0]! : addSplit(nodes)));
      }
      const before = edges.at(-1);
      if (before?.[2] === after && before[1] + 1 === first) before[1] = last;
      else edges.push([first, last, after]);
    }
    return edges.map(([first, last, after]) => addBytes(base + first, base + last, after));
  };

  return LENGTHS.flatMap(([least, most, base], length) => {
    const inside: CharacterRange[] = [];
    for (const [first, last] of ranges) {
      if (first <= most && last >= least) {
        inside.push([Math.max(first, least), Math.min(last, most)]);
      }
    }
    return encode(inside, 6 * length, base);
  });
}

/**
 * Blocks of 2^shift characters in a row that have the same characters, counted from their start.
 * @example blocks([[0x7e, 0x100]], 6): block 1 has 62 to 63, 2 to 3 have 0 to 63, 4 has 0
 */
function blocks(
  list: readonly CharacterRange[],
  shift: number,
): (readonly [number, number, CharacterRange[]])[] {
  const size = 1 << shift;
  const found: (readonly [number, number, CharacterRange[]])[] = [];
  const add = (first: number, last: number, inside: CharacterRange): void => {
    const before = found.at(-1);
    if (before?.[1] === first) before[2].push(inside);
    else found.push([first, last, [inside]]);
  };
  for (const [first, last] of list) {
    let from = first >> shift;
    let to = last >> shift;
    if (from === to) {
      add(from, from, [first % size, last % size]);
      continue;
    }
    if (first % size !== 0) {
      add(from, from, [first % size, size - 1]);
      from++;
    }
    const isPartial = last % size !== size - 1;
    if (isPartial) to--;
    if (from <= to) add(from, to, [0, size - 1]);
    if (isPartial) add(to + 1, to + 1, [0, last % size]);
  }
  return found;
}
