/** Calls read piece by piece: the same whatever the pieces, and never from a guess. */
import { randomBytes } from 'node:crypto';
import { callIds, ToolCallReader, type ToolCallDelta } from '../../lib/chat/tool-calls';
import { Random } from '../grammar/random';

const HERMES = { start: { text: '<tool_call>' } } as const;
const MISTRAL = { start: { token: 5 } } as const;

function counter(): () => string {
  let next = 0;
  return () => `id${String(next++).padStart(7, '0')}`;
}

function randomValue(random: Random, depth: number): unknown {
  switch (random.below(depth > 2 ? 4 : 6)) {
    case 0:
      return random.pick(['', '{', '}"', '\\', 'a, "name": "x"}', '[]', '\n', 'é😀']);
    case 1:
      return random.below(1000) - 500;
    case 2:
      return random.below(2) === 0;
    case 3:
      return null;
    case 4:
      return Array.from({ length: random.below(3) }, () => randomValue(random, depth + 1));
    default:
      return randomObject(random, depth + 1);
  }
}

function randomObject(random: Random, depth: number): Record<string, unknown> {
  const keys = ['a', 'name', 'arguments', 'id', '"', '}'].slice(0, random.below(5));
  return Object.fromEntries(keys.map((key) => [key, randomValue(random, depth)]));
}

/** The text in random pieces; an empty one is what a control token gives. */
function pieces(text: string, random: Random): string[] {
  const found: string[] = [];
  const characters = Array.from(text);
  while (characters.length > 0) found.push(characters.splice(0, 1 + random.below(4)).join(''));
  return found;
}

function joined(deltas: readonly ToolCallDelta[]): Map<number, { name: string; values: string }> {
  const calls = new Map<number, { name: string; values: string }>();
  for (const { index, name, arguments: more } of deltas) {
    const call = calls.get(index) ?? { name: '', values: '' };
    calls.set(index, { name: name ?? call.name, values: call.values + more });
  }
  return calls;
}

test.each(['mistral', 'hermes'])('%s: deltas in any pieces add up to the calls', (kind) => {
  const random = new Random(11);
  for (let round = 0; round < 500; round++) {
    const wanted = Array.from({ length: 1 + random.below(3) }, () => ({
      name: random.pick(['f', 'get_weather', 'g-2']),
      values: JSON.stringify(randomObject(random, 0)),
    }));
    const objects = wanted.map(({ name, values }) => {
      const named = `"name": "${name}"`;
      const given = `"arguments": ${values}`;
      if (kind === 'mistral') return `{${named}, ${given}, "id": "abcdefgh1"}`;
      return random.below(2) === 0 ? `{${named}, ${given}}` : `{${given}, ${named}}`;
    });
    const text =
      kind === 'mistral'
        ? `[${objects.join(', ')}]`
        : objects.map((object) => `<tool_call>\n${object}\n</tool_call>`).join('\n');
    const reader = new ToolCallReader(kind === 'mistral' ? MISTRAL : HERMES, counter());
    if (kind === 'mistral') reader.control(5);
    const deltas: ToolCallDelta[] = [];
    for (const piece of pieces(text, random)) {
      const reading = reader.push(piece);
      expect(reading.content).toBe('');
      deltas.push(...reading.calls);
    }
    expect(reader.flush()).toBe('');
    expect([...joined(deltas).values()]).toEqual(wanted);
    expect(reader.calls.map(({ function: called }) => called)).toEqual(
      wanted.map(({ name, values }) => ({ name, arguments: values })),
    );
  }
});

test('text is text, though it looks like a call', () => {
  const random = new Random(12);
  for (const text of [
    '{"name": "f"}',
    'a <tool_call>{}',
    '<tool',
    '<tool_calm>',
    '[TOOL_CALLS] [',
  ]) {
    for (const form of [MISTRAL, HERMES]) {
      const reader = new ToolCallReader(form, counter());
      const readings = pieces(text, random).map((piece) => reader.push(piece));
      expect(readings.map(({ content }) => content).join('') + reader.flush()).toBe(text);
      expect(readings.flatMap(({ calls }) => calls)).toEqual([]);
      expect(reader.calls).toEqual([]);
    }
  }
});

test('a call that is cut short is none', () => {
  const reader = new ToolCallReader(MISTRAL, counter());
  reader.control(5);
  const { calls } = reader.push('[{"name": "f", "arguments": {"a": 1');
  expect(calls).toEqual([{ index: 0, id: 'id0000000', name: 'f', arguments: '{"a": 1' }]);
  expect(reader.calls).toEqual([]);
});

test('ids are of nine letters and digits, no two the same', () => {
  const next = callIds(randomBytes);
  const ids = Array.from({ length: 200 }, next);
  expect(new Set(ids).size).toBe(200);
  for (const id of ids) expect(id).toMatch(/^[a-zA-Z0-9]{9}$/);
});
