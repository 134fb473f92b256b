/** Entries of 80 columns. */
import { entry } from '../../lib/cli/entries';

test('words are broken into lines, and keep to their column', () => {
  const text = 'word '.repeat(30).trim();
  const lines = entry('name', text, 10).split('\n');
  expect(lines.pop()).toBe('');
  expect(lines.length).toBeGreaterThan(1);
  lines.forEach((line, index) => {
    expect(line.length).toBeLessThanOrEqual(80);
    expect(line.slice(0, 10)).toBe(index === 0 ? 'name      ' : ' '.repeat(10));
  });
  expect(lines.map((line) => line.slice(10)).join(' ')).toBe(text);
});

test('a word that is too long has a line of its own, and what controls a terminal is gone', () => {
  const long = 'x'.repeat(100);
  expect(entry('a', `b ${long} c`, 2)).toBe(`a b\n  ${long}\n  c\n`);
  expect(entry('a', 'b\u001b[31mc\nd', 2)).toBe('a b [31mc d\n');
});
