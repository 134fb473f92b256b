import { GrammarError } from '../../lib/errors';
import {
  accepts,
  complement,
  disjoint,
  fromRanges,
  includes,
  intersect,
  isEmpty,
  lengths,
  minimize,
  ofTexts,
  toAutomaton,
  union,
} from '../../lib/grammar/automaton';
import type { Automaton } from '../../lib/grammar/expression';
import { parseRegex } from '../../lib/grammar/regex';
import { Random } from './random';

const whole = (source: string): Automaton => toAutomaton(parseRegex(source), { anchored: true });
const part = (source: string): Automaton => toAutomaton(parseRegex(source), { anchored: false });

function randomRegex(random: Random, depth: number): string {
  if (depth === 0) {
    return random.pick([
      'a',
      'b',
      'c',
      'é',
      '😀',
      '.',
      '[ab]',
      '[^a]',
      '\\w',
      '\\W',
      '\\s',
      '^',
      '$',
      '',
    ]);
  }
  const inner = (): string => randomRegex(random, depth - 1);
  switch (random.below(6)) {
    case 0:
      return `(?:${inner()})${random.pick(['*', '+', '?', '{2}', '{1,2}', '{2,}', '{0,3}', '*?'])}`;
    case 1:
      return `(${inner()}|${inner()})`;
    default:
      return inner() + inner();
  }
}

const LETTERS = 'abcé😀 \n_';
const texts = ['', ...Array.from(LETTERS)];
for (const first of LETTERS) for (const second of LETTERS) texts.push(first + second);

test('random regular expressions accept what JavaScript matches', () => {
  const random = new Random(1);
  let compared = 0;
  for (let round = 0; round < 600; round++) {
    const source = randomRegex(random, 1 + random.below(3));
    const inPart = new RegExp(source, 'u');
    const asWhole = new RegExp(`^(?:${source})$`, 'u');
    const regex = parseRegex(source);
    const partly = toAutomaton(regex, { anchored: false });
    const wholly = toAutomaton(regex, { anchored: true });
    for (let i = 0; i < 60; i++) {
      const text = i < 20 ? random.pick(texts) : random.text(LETTERS, 8);
      const seen = [source, text, accepts(partly, text), accepts(wholly, text)];
      expect(seen).toEqual([source, text, inPart.test(text), asWhole.test(text)]);
      compared++;
    }
  }
  expect(compared).toBe(36_000);
});

test.each([
  '\\d{3}-\\d{4}',
  '^[A-Z][a-z]*$',
  '[\\w.-]+@[\\w-]+\\.\\w{2,}',
  '\\u00e9|\\u{1F600}|\\x41',
  '[^\\]\\\\]',
  '^\\p{L}+$',
  '\\P{Lu}',
  '[\\p{Nd}_-]+',
  '\\p{Script=Greek}',
  '^(?<year>\\d{4})-(?:\\d\\d)$',
  '[\\b\\t\\cJ]',
  '[]',
  '[^]',
  '\\/\\.\\$\\^\\(\\)\\[\\]\\{\\}\\*\\+\\?\\|',
  '^$',
  'a{0}b',
  '\\uD83D\\uDE00',
  '[\\u{1F600}-\\u{1F64F}]',
])('%s accepts what JavaScript matches', (source) => {
  const random = new Random(2);
  const alphabet = 'aZ09-_.@é😀Ωω٣\t\n\b A]\\/$^()[]{}*+?|2';
  const native = new RegExp(source, 'u');
  const automaton = part(source);
  for (let i = 0; i < 2000; i++) {
    const text = random.text(alphabet, i % 12);
    expect([text, accepts(automaton, text)]).toEqual([text, native.test(text)]);
  }
});

test('what only the syntax without the u flag has is read as JavaScript reads it', () => {
  for (const [source, text] of [
    ['a{', 'a{'],
    ['a{,5}', 'a{,5}'],
    ['x{1', 'x{1'],
    [']}', ']}'],
    ['[\\w-.]', '-'],
    ['\\-\\_\\@', '-_@'],
    ['\\"', '"'],
  ] as const) {
    expect(new RegExp(source).test(text)).toBe(true);
    expect([source, accepts(part(source), text)]).toEqual([source, true]);
  }
});

test.each([
  ['a(?=b)', 'look-ahead', 2],
  ['(?!b)', 'look-ahead', 1],
  ['(?<=a)', 'look-behind', 1],
  ['(?<!a)', 'look-behind', 1],
  ['(a)\\1', 'back-reference', 4],
  ['(?<n>a)\\k<n>', 'back-reference', 8],
  ['\\ba', '\\b', 1],
  ['\\B', '\\B', 1],
  ['(a', '(', 1],
  ['a)', ')', 2],
  ['[a', '[', 1],
  ['a**', '*', 3],
  ['*', '*', 1],
  ['a{2,1}', '{}', 2],
  ['[b-a]', '[]', 2],
  ['\\', '\\', 1],
  ['\\u{110000}', '\\u{}', 1],
  ['\\p{Nope}', '\\p', 1],
  ['\\Z', '\\Z', 1],
  ['(?i:a)', '(?i', 1],
  ['^*', '*', 2],
])('%s is refused by name and place', (source, keyword, place) => {
  let error: unknown;
  try {
    parseRegex(source);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(GrammarError);
  expect(error).toMatchObject({
    keyword,
    message: expect.stringContaining(`character ${place} `) as string,
  });
});

test('operations agree with the languages of all short texts', () => {
  const random = new Random(3);
  for (let round = 0; round < 300; round++) {
    const a = part(randomRegex(random, 2));
    const b = whole(randomRegex(random, 2));
    const [both, either, not] = [intersect(a, b), union(a, b), complement(a)];
    let isPart = true;
    let meet = false;
    for (const text of texts) {
      const inA = accepts(a, text);
      const inB = accepts(b, text);
      expect([accepts(both, text), accepts(either, text), accepts(not, text)]).toEqual([
        inA && inB,
        inA || inB,
        !inA,
      ]);
      isPart &&= inA || !inB;
      meet ||= inA && inB;
    }
    // A shortest text that tells them apart may be longer than those tried.
    if (!isPart) expect(includes(a, b)).toBe(false);
    if (meet) expect(disjoint(a, b)).toBe(false);
    expect(disjoint(a, b)).toBe(isEmpty(both));
    expect(includes(a, b)).toBe(isEmpty(intersect(b, not)));
    expect(isEmpty(intersect(a, not))).toBe(true);
    expect(minimize(union(a, not)).states).toHaveLength(1);
    expect(includes(union(a, b), a)).toBe(true);
  }
});

test('equal languages have equal least automata', () => {
  expect(whole('(a|b)*abb')).toEqual(whole('[ab]*?a(?:b){2}'));
  expect(whole('(ab|ac)')).toEqual(ofTexts(['ac', 'ab', 'ac']));
  expect(whole('[^x]')).toEqual(intersect(complement(fromRanges([[120, 120]])), whole('[^]')));
  expect(complement(complement(whole('a{2,5}|b')))).toEqual(whole('a{2,5}|b'));
});

test('lengths are of characters', () => {
  expect(lengths(whole('a{2,5}|😀'))).toEqual({ least: 1, most: 5 });
  expect(lengths(whole('a+'))).toEqual({ least: 1, most: Infinity });
  expect(lengths(whole(''))).toEqual({ least: 0, most: 0 });
  expect(lengths(whole('[]'))).toEqual({ least: Infinity, most: -1 });
  expect(isEmpty(whole('a^'))).toBe(true);
});

test('a list of texts accepts these texts alone', () => {
  const random = new Random(4);
  const list = Array.from({ length: 3000 }, () => random.text('abc\ue000😀', 8));
  const automaton = ofTexts(list);
  const set = new Set(list);
  for (let i = 0; i < 5000; i++) {
    const text = random.text('abc\ue000😀', 8);
    expect([text, accepts(automaton, text)]).toEqual([text, set.has(text)]);
  }
  expect(minimize(automaton).states).toHaveLength(automaton.states.length);
  expect(accepts(ofTexts([]), '')).toBe(false);
  expect(accepts(ofTexts(['']), '')).toBe(true);
  expect(() => ofTexts(['\ud800'])).toThrow(GrammarError);
});

test.each([
  '(a|b)*a(a|b){30}',
  '(?:a{1000}){1000}',
  '(?:(?:(?:x?){999}){999}){999}',
  '(?:){1000000000}',
  '('.repeat(1e5),
])('an expression of too many states is refused: %s', (source) => {
  expect(() => part(source)).toThrow(GrammarError);
});
