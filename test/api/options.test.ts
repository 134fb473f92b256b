/** What callers pass is checked at once, and the message names it. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  Model,
  TramontaneError,
  inspect,
  loadTokenizer,
  type GenerateOptions,
  type LoadOptions,
  type LogitsOptions,
} from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
let model: Model;
beforeAll(async () => {
  model = await Model.load(path);
});
afterAll(() => model.dispose());

/** More keys than values, as a Map would have them. */
const unequal = { keys: () => [5, 6].values(), values: () => [1].values() };

const badGenerate: [string, unknown][] = [
  ['maxTokens', 0],
  ['maxTokens', 1.5],
  ['maxTokens', '10'],
  ['temperature', -1],
  ['temperature', NaN],
  ['topK', -1],
  ['topP', 0],
  ['topP', 1.1],
  ['minP', 2],
  ['seed', -1],
  ['seed', 2 ** 60],
  ['repetitionPenalty', 0],
  ['repetitionPenalty', 1e-300],
  ['presencePenalty', Infinity],
  ['frequencyPenalty', 'x'],
  ['logitBias', new Map([[5000, 1]])],
  ['logitBias', new Map([[5, NaN]])],
  ['logitBias', new Map([[5, 1e39]])],
  ['logitBias', new Map([[5n, 1]])],
  ['logitBias', { 5000: 1 }],
  ['logitBias', { '05': 1 }],
  ['logitBias', { 5: '1' }],
  ['logitBias', unequal],
  ['logitBias', [[5, 1]]],
  ['logitBias', new Set([5])],
  ['allowedTokens', []],
  ['allowedTokens', [1.5]],
  ['allowedTokens', new Set([5])],
  ['allowedTokens', 'a'],
  ['stop', ''],
  ['stop', ['']],
  ['stop', [1]],
  ['stop', new Array<string>(2)],
  ['stop', { 0: 'a', length: 1 }],
  ['stopTokens', [-1]],
  ['stopTokens', [5n]],
  ['stopTokens', [Symbol('5')]],
  ['stopTokens', [Object.create(null)]],
  ['stopTokens', new Array<number>(2)],
  ['stopTokens', new Float32Array([5])],
  ['stopTokens', new BigInt64Array([5n])],
  ['stopTokens', new DataView(new ArrayBuffer(4))],
  ['stopTokens', Buffer.from([5])],
  ['ignoreEos', 1],
  ['logprobs', 1000],
  ['signal', {}],
  ['signal', { aborted: false, addEventListener() {}, throwIfAborted() {} }],
];

/** What a call throws, which is a TramontaneError. */
function thrown(call: () => unknown): TramontaneError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(TramontaneError);
    return error as TramontaneError;
  }
  throw new Error('nothing was thrown');
}

test.each(badGenerate)('generate() refuses %s: %p', (name, value) => {
  const options = { [name]: value } as GenerateOptions;
  const { code, message } = thrown(() => model.generate('a', options));
  expect(code).toBe('INVALID_OPTION');
  expect(message).toContain(name);
});

test('null is refused for every option; undefined is as absent', async () => {
  const names = [...new Set(badGenerate.map(([name]) => name))];
  expect(names.length).toBe(16);
  for (const name of names) {
    const { code, message } = thrown(() => model.generate('a', { [name]: null }));
    expect([code, message]).toEqual(['INVALID_OPTION', expect.stringContaining(`${name} must be`)]);
    await model.generate('a', { [name]: undefined, temperature: 0, maxTokens: 1 }).text();
  }
});

test('unknown options are errors that list the known ones', async () => {
  const options = { max_tokens: 5 } as unknown as GenerateOptions;
  expect(() => model.generate('a', options)).toThrow(/max_tokens.*maxTokens/s);
  const load = { gpu: true } as unknown as LoadOptions;
  await expect(Model.load(path, load)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('gpu') as string,
  });
});

test.each([
  ['threads', 0],
  ['threads', 'many'],
  ['contextSize', 0],
  ['contextSize', 2 ** 31],
  ['slidingWindow', 0],
  ['slidingWindow', true],
  ['compute', 'f16'],
  ['kvCacheType', 'int8'],
  ['kvCacheTokens', -5],
  ['preload', 'yes'],
  ['mapping', 'copied'],
  ['onProgress', 5],
  ['signal', 5],
])('load() refuses %s: %p', async (name, value) => {
  await expect(Model.load(path, { [name]: value })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining(name) as string,
  });
});

test.each<[string, unknown, RegExp]>([
  ['the empty text', '', /empty/],
  ['an empty array', [], /empty/],
  ['a detached array', detached(), /empty/],
  ['a token that does not exist', [1024], /prompt\[0\].*1023/],
  ['half a token', [1, 2.5], /prompt\[1\]/],
  ['a hole', new Array<number>(1), /prompt\[0\].*undefined/],
  ['a symbol', [Symbol('a')], /prompt\[0\]/],
  ['an object without a prototype', [Object.create(null)], /array of objects/],
  ['a BigInt', [1n, 5n], /BigInt.*Number\(\)/],
  ['an array of BigInts', new BigInt64Array([5n]), /BigInt.*Number\(\)/],
  ['an array of floats', new Float32Array([5]), /text or an array of token ids.*object/],
  ['a Buffer', Buffer.from('hi'), /Buffer.*toString\(\)/],
  ['a DataView', new DataView(new ArrayBuffer(8)), /text or an array of token ids.*object/],
  ['texts', ['a', 'b'], /once for each/],
  ['chat messages', [{ role: 'user', content: 'a' }], /chat messages.*chatTemplate/],
  ['a number', 5, /must be a text or an array of token ids, but is 5/],
  ['nothing', undefined, /must be a text.*undefined/],
  ['null', null, /must be a text.*null/],
  ['an object', { text: 'a' }, /must be a text.*an object/],
])('prompts: %s is refused', async (_, prompt, message) => {
  const error = thrown(() => model.generate(prompt as string));
  expect(error.code).toBe('INVALID_PROMPT');
  expect(error.message).toMatch(message);
  const refused = { code: 'INVALID_PROMPT', message: error.message };
  await expect(model.logits(prompt as string)).rejects.toMatchObject(refused);
  await expect(model.perplexity(prompt as string)).rejects.toMatchObject(refused);
});

function detached(): Int32Array {
  const array = new Int32Array(4);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
}

test('a text that comes to no tokens is refused, and nobody waits for it', async () => {
  await using other = await Model.load(path);
  jest.spyOn(other.tokenizer, 'encode').mockReturnValue([]);
  expect(thrown(() => other.generate('你好')).code).toBe('INVALID_PROMPT');
  await expect(other.logits('你好')).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
});

test('ids may be in any array of integers, wherever there are ids', async () => {
  const options = { temperature: 0, maxTokens: 5 };
  const expected = await model.generate([1, 5, 6], options).text();
  for (const constructor of [
    Int8Array,
    Uint8Array,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
  ]) {
    expect(await model.generate(constructor.of(1, 5, 6), options).text()).toBe(expected);
  }
  const { tokenIds } = await model
    .generate('a', { allowedTokens: Uint16Array.of(300, 301), stopTokens: Int32Array.of(301) })
    .result();
  expect(tokenIds.slice(0, -1).every((id) => id === 300)).toBe(true);
  const ids = [1, 5, 6];
  expect(await model.logits(Int32Array.from(ids), { positions: Uint8Array.of(1) })).toEqual(
    await model.logits(ids, { positions: [1] }),
  );
});

test('logits() and perplexity() take a text, as generate() does', async () => {
  const text = 'Once upon a time';
  const ids = model.tokenizer.encode(text, { bos: true });
  expect(await model.logits(text)).toEqual(await model.logits(ids));
  expect(await model.perplexity(text)).toBe(await model.perplexity(ids));
});

test('a bias may be a plain object, a stop string stand alone', async () => {
  const options = { temperature: 0, maxTokens: 20 };
  for (const logitBias of [{ 300: 1000 }, JSON.parse('{"300":1000}'), new Map([[300, 1000]])]) {
    const { tokenIds } = await model.generate('a', { ...options, logitBias }).result();
    expect(tokenIds).toEqual(new Array(20).fill(300));
  }
  const alone = await model.generate('Once', { ...options, stop: ' a' }).result();
  expect(alone).toMatchObject({ finishReason: 'stop', stopSequence: ' a' });
});

test('hundreds of thousands of stop tokens are as good as few', async () => {
  const stopTokens = new Array<number>(300_000).fill(5);
  await model.generate('a', { stopTokens, maxTokens: 1 }).text();
});

test('logits() and perplexity() check their arguments', async () => {
  await expect(model.logits([])).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
  await expect(model.logits([5], { positions: [1] })).rejects.toThrow(/positions\[0\]/);
  await expect(model.logits([5], { positions: [] })).rejects.toThrow(/positions/);
  for (const positions of [5, '0', new Set([0]), null, [0n], new Array<number>(1)]) {
    await expect(model.logits([5], { positions } as LogitsOptions)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('positions') as string,
    });
  }
  await expect(model.perplexity([5])).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
});

test('a file that is not there, a directory without a model', async () => {
  await expect(Model.load('/nowhere/model.gguf')).rejects.toMatchObject({
    code: 'FILE_NOT_READABLE',
  });
  await expect(Model.load(__dirname)).rejects.toBeInstanceOf(TramontaneError);
});

test('positions whose logits no array can hold are refused with their size', async () => {
  await using large = await Model.load(path, { contextSize: 2 ** 24 });
  const ids = new Int32Array(9_000_000).fill(5);
  await expect(large.logits(ids, { positions: ids.map((_, i) => i) })).rejects.toMatchObject({
    code: 'OUT_OF_MEMORY',
    message: expect.stringContaining('36864000000 bytes') as string,
  });
});

test('the default of maxTokens is what is left, window or not, and never refused', async () => {
  for (const load of [
    { kvCacheTokens: 2048, slidingWindow: 4096, contextSize: 8192 },
    { kvCacheTokens: 64, slidingWindow: false },
  ] as const) {
    await using small = await Model.load(path, load);
    const result = await small.generate([5, 6], { ignoreEos: true }).result();
    expect(result.finishReason).toBe('length');
    expect(result.usage.completionTokens).toBeGreaterThanOrEqual(load.kvCacheTokens - 2);
    const full = new Array<number>(load.kvCacheTokens).fill(5);
    expect((await small.generate(full).result()).usage.completionTokens).toBe(1);
  }
});

test('new Model() says how a model is made', () => {
  const { message } = thrown(() => new (Model as unknown as new () => Model)());
  expect(message).toContain('await Model.load(path)');
});

test('a request larger than the cache is refused at once, with both numbers', async () => {
  await using small = await Model.load(path, { kvCacheTokens: 64, slidingWindow: false });
  expect(() => small.generate(new Array<number>(40).fill(5), { maxTokens: 40 })).toThrow(/96.*64/);
});

describe('paths', () => {
  const readers: [string, (path: string) => Promise<unknown>][] = [
    ['Model.load()', (file) => Model.load(file)],
    ['inspect()', inspect],
    ['loadTokenizer()', loadTokenizer],
  ];

  test.each(readers)('%s takes file: URLs, as texts and as objects', async (_, read) => {
    const url = pathToFileURL(path);
    for (const given of [url, url.href]) {
      const loaded = await read(given as string);
      if (loaded instanceof Model) await loaded.dispose();
    }
  });

  test.each(readers)('%s says what to do about what is no path', async (_, read) => {
    const options: [unknown, RegExp][] = [
      ['', /must be a path/],
      [undefined, /must be a path.*undefined/],
      [null, /must be a path/],
      [5, /must be a path/],
      [Buffer.from(path), /must be a path/],
      ['a\0b', /must be a path/],
      ['ftp://example.com/m.gguf', /download/],
      [new URL('ftp://example.com/m.gguf'), /download/],
      ['file://host/m.gguf', /no path/],
    ];
    for (const [given, message] of options) {
      await expect(read(given as string)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(message) as string,
      });
    }
    const missing: [string, RegExp][] = [
      ['~/m.gguf', /os\.homedir\(\)/],
      ['mistralai/Mistral-7B-v0.1', /hf:mistralai\/Mistral-7B-v0\.1 fetches/],
      ['some/file.gguf', /no such file or directory$/],
    ];
    for (const [given, message] of missing) {
      await expect(read(given)).rejects.toMatchObject({
        code: 'FILE_NOT_READABLE',
        message: expect.stringMatching(message) as string,
      });
    }
  });
});
