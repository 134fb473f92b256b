import type { CharacterRange } from './expression';

/** Every character: the code points without the surrogates, which no text in UTF-8 has. */
export const ANY: readonly CharacterRange[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** What `\d`, `\w`, `\s` and `.` of ECMA's regular expressions are. */
export const DIGIT: readonly CharacterRange[] = [[0x30, 0x39]];
export const WORD: readonly CharacterRange[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
export const SPACE: readonly CharacterRange[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
export const DOT: readonly CharacterRange[] = invert([
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
]);

/** Sorted, disjoint, merged where they touch, without surrogates. */
export function normalize(ranges: readonly CharacterRange[]): readonly CharacterRange[] {
  if (isNormal(ranges)) return ranges;
  const sorted = ranges.filter(([first, last]) => first <= last).sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged.flatMap(([first, last]) =>
    ANY.map(([low, high]): CharacterRange => [Math.max(first, low), Math.min(last, high)]).filter(
      ([low, high]) => low <= high,
    ),
  );
}

function isNormal(ranges: readonly CharacterRange[]): boolean {
  let before = -2;
  for (const [first, last] of ranges) {
    if (first <= before + 1 || last < first) return false;
    if (last >= 0xd800 && first <= 0xdfff) return false;
    before = last;
  }
  return before <= 0x10ffff;
}

/** The characters that `ranges` lacks. */
export function invert(ranges: readonly CharacterRange[]): readonly CharacterRange[] {
  const gaps: CharacterRange[] = [];
  let next = 0;
  for (const [first, last] of normalize(ranges)) {
    gaps.push([next, first - 1]);
    next = last + 1;
  }
  gaps.push([next, 0x10ffff]);
  return normalize(gaps);
}

const properties = new Map<string, readonly CharacterRange[] | undefined>();
let everyCharacter: string | undefined;

/** The characters of a Unicode property, as in `\p{name}`; undefined if JavaScript knows none. */
export function unicodeProperty(name: string): readonly CharacterRange[] | undefined {
  if (!/^[A-Za-z_]{1,40}(=[A-Za-z_]{1,40})?$/.test(name)) return undefined;
  if (properties.has(name)) return properties.get(name);
  let runs: RegExp;
  try {
    runs = new RegExp(`\\p{${name}}+`, 'gu');
  } catch {
    return undefined;
  }
  everyCharacter ??= spellEveryCharacter();
  const ranges: CharacterRange[] = [];
  for (const { 0: run, index } of everyCharacter.matchAll(runs)) {
    const end = index + run.length;
    const last = everyCharacter.codePointAt(
      isLowSurrogate(everyCharacter, end - 1) ? end - 2 : end - 1,
    );
    ranges.push([everyCharacter.codePointAt(index) ?? 0, last ?? 0]);
  }
  // A run may go over the surrogates, which are not in the text.
  const found = normalize(ranges);
  properties.set(name, found);
  return found;
}

function isLowSurrogate(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xdc00;
}

function spellEveryCharacter(): string {
  const parts: string[] = [];
  for (const [first, last] of ANY) {
    for (let code = first; code <= last; code += 0x1000) {
      const length = Math.min(0x1000, last - code + 1);
      parts.push(String.fromCodePoint(...Array.from({ length }, (_, i) => code + i)));
    }
  }
  return parts.join('');
}
