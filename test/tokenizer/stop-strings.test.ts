import { StopStrings } from '../../lib/tokenizer/streaming/stop-strings';
import { countCalls } from './count';
import { refused } from './refused';

/** What comes out for each chunk and, if no stop string came, the rest. */
function run(stops: string[], ...chunks: string[]): { texts: string[]; stop: string | undefined } {
  const matcher = new StopStrings(stops);
  const texts: string[] = [];
  for (const chunk of chunks) {
    const { text, stop } = matcher.push(chunk);
    texts.push(text);
    if (stop !== undefined) return { texts, stop };
  }
  texts.push(matcher.flush());
  return { texts, stop: undefined };
}

test('without stop strings text passes at once', () => {
  expect(run([], 'a', 'b')).toEqual({ texts: ['a', 'b', ''], stop: undefined });
});

test('a stop string is found across chunks, and never emitted', () => {
  expect(run(['</s>'], 'ab<', '/', 's>tail')).toEqual({ texts: ['ab', '', ''], stop: '</s>' });
  expect(run(['\n\n'], 'a\n', '\nb')).toEqual({ texts: ['a', ''], stop: '\n\n' });
});

test('what may begin a stop string is held back, and comes once it does not', () => {
  expect(run(['END'], 'xE', 'N', 'x', 'EN')).toEqual({
    texts: ['x', '', 'ENx', '', 'EN'],
    stop: undefined,
  });
});

test('a stop string that begins inside a failed one is found', () => {
  expect(run(['aab'], 'aaaab')).toEqual({ texts: ['aa'], stop: 'aab' });
  expect(run(['abcabd'], 'abcab', 'cabd')).toEqual({ texts: ['', 'abc'], stop: 'abcabd' });
});

test('the one that is complete first wins', () => {
  expect(run(['abcdef', 'cd'], 'xabcdef')).toEqual({ texts: ['xab'], stop: 'cd' });
  expect(run(['b', 'abc'], 'abc')).toEqual({ texts: ['a'], stop: 'b' });
});

test('of those that are complete at once the longest wins', () => {
  expect(run(['c', 'bc', 'abc'], 'xabc')).toEqual({ texts: ['x'], stop: 'abc' });
  expect(run(['bc', 'abc'], 'xab', 'c')).toEqual({ texts: ['x', ''], stop: 'abc' });
});

test('after the first occurrence nothing follows', () => {
  expect(run(['.'], 'a.b.c')).toEqual({ texts: ['a'], stop: '.' });
});

test('the same stop string twice is one', () => {
  expect(run(['a', 'a'], 'ba')).toEqual({ texts: ['b'], stop: 'a' });
});

test('an empty stop string is refused', () => {
  refused(() => new StopStrings(['a', '']), 'INVALID_OPTION', 'empty');
});

test('equal to a search in the whole text, whatever the chunks', () => {
  let state = 99;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % below;
  };
  const word = (length: number): string => Array.from({ length }, () => 'ab'[random(2)]).join('');
  for (let turn = 0; turn < 3000; turn++) {
    const stops = Array.from({ length: 1 + random(4) }, () => word(1 + random(5)));
    const text = word(random(14));
    const chunks = text.match(/.{1,3}/gs) ?? [];
    const { texts, stop } = run(stops, ...chunks);
    expect({ text, stops, out: texts.join(''), stop }).toEqual({
      text,
      stops,
      ...search(text, stops),
    });
  }
});

/** The end of the text that comes first, and there the longest stop string. */
function search(text: string, stops: string[]): { out: string; stop: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (found.length === 0) continue;
    const stop = found.reduce((a, b) => (b.length > a.length ? b : a));
    return { out: text.slice(0, end - stop.length), stop };
  }
  return { out: text, stop: undefined };
}

test('the work is linear in the text, and does not depend on the stop strings', () => {
  const stops = Array.from({ length: 64 }, (_, n) => 'a'.repeat(10 * n + 5) + 'b');
  const matcher = new StopStrings(stops);
  const text = 'a'.repeat(20_000) + 'c';
  let emitted = '';
  const lookups = countCalls(Map.prototype, 'get', () => {
    for (const unit of text) emitted += matcher.push(unit).text;
  });
  expect(emitted).toBe(text);
  expect(lookups).toBeLessThan(3 * text.length);
});
