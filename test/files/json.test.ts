/** JSON of files: how much is taken, what Python writes, and that nothing large is ever parsed. */
import { parseJson } from '../../lib/files/json';
import { JSON_LIMITS, MAX_TENSORS, type JsonLimits } from '../../lib/files/limits';
import { readHfCheckpoint } from '../../lib/files/hf/checkpoint';
import { readSafetensors } from '../../lib/files/hf/safetensors';
import { createTokenizer } from '../../lib/tokenizer/create';
import { HfBuilder } from './hf-builder';
import { MemoryFile, safetensors } from './memory';
import { refused } from './refused';

const SMALL: JsonLimits = { bytes: 100, depth: 3, values: 6, members: 2 };

function parse(text: string | Buffer, limits = SMALL): unknown {
  return parseJson({ path: 'x.json', bytes: Buffer.from(text) }, limits);
}

let parser: jest.SpyInstance;
beforeEach(() => {
  parser = jest.spyOn(JSON, 'parse');
});
afterEach(() => {
  parser.mockRestore();
});

describe('limits', () => {
  test.each([
    '[[[]]]',
    '[1,2,3,4]',
    '{"a":1,"b":2}',
    '"[[[[[[[[,,,,,,,,:::::::: NaN"',
    '["\\"[[[[,,,,","\\\\",","]',
    ' '.repeat(97) + '[1]',
  ])('are not exceeded by %s', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  test.each([
    ['[[[[]]]]', '4 levels of JSON, and such a file has at most 3 (at byte 3)'],
    ['[1,2,3,4,5,6]', '7 values'],
    ['[{},{},{}]', '7 values'],
    ['{"a":1,"b":2,"c":3}', '3 keys'],
    ['[NaN,NaN,NaN,NaN,NaN,NaN]', '7 values'],
    ['NaN'.repeat(9), '7 values'],
    [' '.repeat(98) + '[1]', '101 bytes'],
  ])('are found before parsing: %s', (text, message) => {
    parser.mockClear();
    expect(() => parse(text)).toThrow(message);
    expect(parser).not.toHaveBeenCalled();
  });

  test.each(['"', '"\\', '"abc\\"', '{"a', '[', ']]]]]', '}{', ' ', '\u0000', 'Na', '-'])(
    'do not make text that is no JSON pass: %j',
    (text) => {
      expect(() => parse(text)).toThrow('not JSON');
    },
  );
});

describe('what Python writes', () => {
  test('a byte order mark is passed over', () => {
    expect(parse('\ufeff{"a":1}')).toEqual({ a: 1 });
    expect(() => parse('\ufeff\ufeff{}')).toThrow('not JSON');
  });

  test('NaN and infinities are values, though not numbers', () => {
    const text = '[NaN, -Infinity,{"NaN":Infinity}]';
    expect(parse(text)).toEqual(['NaN', '-Infinity', { NaN: 'Infinity' }]);
    for (const wrong of ['xNaN', 'NaNs', '--Infinity', '[NaN NaN]']) {
      expect(() => parse(wrong)).toThrow('not JSON');
    }
  });
});

/** Bombs of the kinds that once ended a heap of 1 GB: each is refused before it is parsed. */
describe('a bomb is refused before it is parsed', () => {
  const lists = (count: number): string => `{"a":[${'[],'.repeat(count)}0]}`;
  const deep = (depth: number): string => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;

  test.each([
    'config.json',
    'generation_config.json',
    'quantize_config.json',
    'tokenizer_config.json',
    'model.safetensors.index.json',
  ])('%s', async (name) => {
    const { bytes } = name.includes('index') ? JSON_LIMITS.index : JSON_LIMITS.tokenizerConfig;
    for (const text of [lists(600_000), deep(100_000), `{"a":"${'x'.repeat(bytes)}"}`]) {
      const hf = new HfBuilder();
      hf.files['model.safetensors.index.json'] = '{"weight_map":{}}';
      hf.weightsName = 'other.safetensors';
      hf.files[name] = text;
      await refused(readHfCheckpoint(hf.folder(), 'given'), 'INVALID_FILE', name, 'at most');
    }
    expect(Math.max(...parser.mock.calls.map(([text]) => (text as string).length))).toBeLessThan(
      10_000,
    );
  });

  test('a safetensors header', async () => {
    const tensor = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const names = Array.from({ length: MAX_TENSORS + 1 }, (_, i) => `"${i}":${tensor}`);
    for (const text of [lists(1e6), deep(1e6), `{${names.join()}}`]) {
      const { start, byteLength } = safetensors(text, 1);
      const file = new MemoryFile('x.safetensors', start, byteLength);
      await refused(readSafetensors(file), 'INVALID_FILE', 'x.safetensors', /at most|more than/);
    }
    const { start } = safetensors('{}', 0);
    start.writeBigUInt64LE(BigInt(JSON_LIMITS.safetensors.bytes + 1));
    const long = new MemoryFile('x.safetensors', start, 2 ** 40);
    await refused(readSafetensors(long), 'INVALID_FILE', 'a header of 16777217 bytes');
  });

  test('tokenizer.json', () => {
    const pieces = Array.from({ length: 1_400_000 }, (_, i) => `"${i}":${i}`);
    const vocabulary = `{"model":{"vocab":{${pieces.join()}},"merges":[]}}`;
    parser.mockClear();
    for (const text of [lists(4e6), deep(1e6), vocabulary]) {
      const source = { kind: 'tokenizer.json', path: 'x', bytes: Buffer.from(text) } as const;
      expect(() => createTokenizer(source)).toThrow('at most');
    }
    expect(parser).not.toHaveBeenCalled();
  });
});
