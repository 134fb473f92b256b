/** Safetensors headers: their bounds, and what JSON.parse would let through. */
import { readSafetensors } from '../../lib/files/hf/safetensors';
import { MemoryFile, safetensors } from './memory';
import { refused } from './refused';

const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32'): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const read = (
  entries: Record<string, unknown> | string,
  dataLength = 16,
): ReturnType<typeof readSafetensors> => {
  const { start, byteLength } = safetensors(entries, dataLength);
  return readSafetensors(new MemoryFile('x.safetensors', start, byteLength));
};

test('names, types, shapes and ranges, in the order of the header', async () => {
  const tensors = await read({ __metadata__: { format: 'pt' }, b: entry(8, 16), a: entry(0, 8) });
  expect(tensors).toMatchObject([
    { name: 'b', type: 'F32', shape: [2], byteLength: 8 },
    { name: 'a', type: 'F32', shape: [2], byteLength: 8 },
  ]);
  expect(tensors[0]!.offset - tensors[1]!.offset).toBe(8);
});

test('data at an odd offset, and padding of spaces after the header', async () => {
  const text = `${JSON.stringify({ a: entry(0, 16) })} `;
  for (let spaces = 0; spaces < 8; spaces++) {
    const [a] = await read(text + ' '.repeat(spaces));
    expect(a!.offset).toBe(8 + text.length + spaces);
  }
});

test('empty tensors, scalars, types that are not known', async () => {
  const tensors = await read({
    empty: entry(0, 0, [0, 5]),
    scalar: entry(0, 4, []),
    unknown: entry(4, 16, [3], 'F4_E9'),
  });
  expect(tensors.map(({ byteLength }) => byteLength)).toEqual([0, 4, 12]);
});

test('only the header is read', async () => {
  const { start, byteLength } = safetensors({ a: entry(0, 2 ** 33) }, 2 ** 33);
  const file = new MemoryFile('x.safetensors', start, byteLength);
  await readSafetensors(file);
  expect(file.bytesRead).toBe(start.length);
});

test('a tensor called __proto__ or constructor is a tensor like any other', async () => {
  const text = `{"__proto__":${JSON.stringify(entry(0, 8))},"constructor":${JSON.stringify(entry(8, 16))}}`;
  const tensors = await read(text);
  expect(tensors.map(({ name }) => name)).toEqual(['__proto__', 'constructor']);
  expect(({} as Record<string, unknown>)['dtype']).toBeUndefined();
  await refused(read('{"__proto__":{}}'), 'INVALID_FILE', '"__proto__" has no dtype');
});

test.each([
  ['written alike', '"a"', '"a"'],
  ['written differently', '"a"', '"\\u0061"'],
  ['behind a name with quotes', '"\\"a\\\\"', '"\\"a\\\\"'],
])('the same name twice, %s', async (_, one, other) => {
  const text = `{${one}:${JSON.stringify(entry(0, 8))}, ${other}:${JSON.stringify(entry(8, 16))}}`;
  await refused(read(text), 'INVALID_FILE', 'appears twice', `at byte ${text.indexOf(', ') + 10}`);
});

test('keys inside a tensor are not tensors', async () => {
  const odd = { ...entry(0, 16), extra: [{ a: 1 }, 'a', { a: '{' }], more: { a: { a: ',' } } };
  expect(await read({ a: odd })).toHaveLength(1);
});

describe('refused', () => {
  test.each<[string, Record<string, unknown> | string, string]>([
    ['no JSON', '{"a":', 'not JSON'],
    ['an array', '[]', 'not a JSON object'],
    ['null', 'null', 'not a JSON object'],
    ['no object for a tensor', { a: 5 }, '"a" has no dtype'],
    ['an array for a tensor', { a: [] }, '"a" has no dtype'],
    ['no shape', { a: { dtype: 'F32', data_offsets: [0, 4] } }, 'no valid shape'],
    ['a negative size', { a: entry(0, 8, [-2]) }, 'no valid shape'],
    ['a size that is no integer', { a: entry(0, 8, [0.5]) }, 'no valid shape'],
    ['a size beyond 2^53', { a: entry(0, 8, [2 ** 60]) }, 'no valid shape'],
    ['too many dimensions', { a: entry(0, 4, new Array<number>(9).fill(1)) }, 'no valid shape'],
    ['no offsets', { a: { dtype: 'F32', shape: [1] } }, 'no valid data_offsets'],
    ['one offset', { a: { dtype: 'F32', shape: [0], data_offsets: [0] } }, 'no valid data_offsets'],
    ['offsets in reverse', { a: entry(8, 4, [0]) }, 'data_offsets [8, 4]'],
    ['data beyond the end', { a: entry(8, 24) }, 'data_offsets [8, 24], and the file has 16'],
    ['fewer bytes than the shape needs', { a: entry(0, 8, [3]) }, '8 bytes for F32 [3]'],
    ['a product that overflows', { a: entry(0, 0, [2 ** 50, 2 ** 50]) }, '0 bytes for F32'],
    ['ranges that overlap', { a: entry(0, 8), b: entry(4, 12) }, '"a" and "b" overlap'],
    ['the same range twice', { a: entry(0, 8), b: entry(0, 8) }, '"a" and "b" overlap'],
  ])('%s', async (_, entries, message) => {
    await refused(read(entries), 'INVALID_FILE', 'x.safetensors: ', message, /at byte \d+/);
  });

  test('a header that is not UTF-8', async () => {
    const { start, byteLength } = safetensors('{"a\u0001":1}', 0);
    start[start.indexOf(1, 9)] = 0xff;
    const file = new MemoryFile('x.safetensors', start, byteLength);
    await refused(readSafetensors(file), 'INVALID_FILE', 'not UTF-8');
  });

  test.each([0n, 1n, 2n ** 26n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n])(
    'a header length of %d in a short file',
    async (length) => {
      const bytes = Buffer.from('--------{}');
      bytes.writeBigUInt64LE(length);
      const file = new MemoryFile('x.safetensors', bytes);
      await refused(readSafetensors(file), 'INVALID_FILE');
      expect(file.bytesRead).toBeLessThanOrEqual(8 + bytes.length);
    },
  );

  test('a header longer than any real one in a long file, unread', async () => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(16_777_217n);
    const file = new MemoryFile('x.safetensors', bytes, 2 ** 40);
    await refused(readSafetensors(file), 'INVALID_FILE', 'and 2 to 16777216 can be');
    expect(file.bytesRead).toBeLessThan(1000);
  });

  test('fewer than eight bytes', async () => {
    const file = new MemoryFile('x.safetensors', Buffer.alloc(7));
    await refused(readSafetensors(file), 'INVALID_FILE', 'too short');
  });
});
