/** What Model.load() does with its options and its file, and what model.info says of it. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type LoadOptions } from '../../lib';
import { fixture } from '../reference';
import { basePieces, sentencePieceSource } from '../tokenizer/builders';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
const linux = process.platform === 'linux' ? test : test.skip;

test('a load that is aborted rejects with the signal reason', async () => {
  const reason = new Error('changed my mind');
  await expect(Model.load(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const controller = new AbortController();
  const phases: string[] = [];
  const loading = Model.load(path, {
    signal: controller.signal,
    onProgress: ({ phase, fraction }) => {
      phases.push(phase);
      expect(fraction).toBeGreaterThanOrEqual(0);
      if (phase === 'weights') controller.abort(reason);
    },
  });
  await expect(loading).rejects.toBe(reason);
  expect(phases).toEqual(['header', 'tokenizer', 'weights']);
});

test('preload reads the files, says how far it is, and can be given up', async () => {
  const reason = new Error('changed my mind');
  const phases: string[] = [];
  const fractions: number[] = [];
  const onProgress: LoadOptions['onProgress'] = ({ phase, fraction }) => {
    phases.push(phase);
    fractions.push(fraction);
  };
  await using model = await Model.load(path, { preload: true, onProgress });
  expect(model.tokenizer.vocabularySize).toBe(1024);
  expect(phases).toEqual(['header', 'tokenizer', 'preload', 'preload', 'weights', 'ready']);
  expect(fractions).toEqual([0, 0.3, 0.3, 0.6, 0.6, 1]);
  const controller = new AbortController();
  const given = Model.load(path, {
    preload: true,
    signal: controller.signal,
    onProgress: ({ phase }) => {
      if (phase === 'preload') controller.abort(reason);
      expect(phase).not.toBe('weights');
    },
  });
  await expect(given).rejects.toBe(reason);
});

linux('the threads option is honoured: one thread computes alone, four are four', async () => {
  const threads = (): number => readdirSync('/proc/self/task').length;
  const before = threads();
  const one = await Model.load(path, { threads: 1 });
  await one.generate('Once', { maxTokens: 5 }).text();
  const withOne = threads();
  const four = await Model.load(path, { threads: 4 });
  // Enough rows for the work to be split.
  await four.logits(new Array<number>(300).fill(5));
  const withFour = threads();
  expect(one.info.threads).toEqual({ count: 1, source: 'option' });
  expect(four.info.threads).toEqual({ count: 4, source: 'option' });
  // Beside the engine's own thread, the shared pool grows to the most any model asked for.
  expect(withFour - withOne).toBeGreaterThanOrEqual(1);
  expect(withFour - before).toBeLessThanOrEqual(2 + 3 + 4); // 2 engines, 3 helpers, Node's own pool.
  await Promise.all([one.dispose(), four.dispose()]);
});

linux('a large context costs nothing until it is filled', async () => {
  const resident = (): number => {
    const status = readFileSync('/proc/self/status', 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };
  const before = resident();
  // A million tokens of this model's cache are 768 MB.
  await using model = await Model.load(path, { kvCacheTokens: 1_000_000 });
  await model.generate('Once', { maxTokens: 20 }).text();
  expect(model.info.kvCache.tokens).toBe(1_000_000);
  expect(resident() - before).toBeLessThan(100e6);
});

test('a file that says its context is huge loads as fast as another', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    const bytes = readFileSync(path);
    const key = 'llama.context_length';
    const value = bytes.indexOf(key) + key.length + 4;
    for (const contextLength of [2 ** 30, 2 ** 31 - 1]) {
      bytes.writeUInt32LE(contextLength, value);
      const file = join(directory, `${String(contextLength)}.gguf`);
      writeFileSync(file, bytes);
      for (const slidingWindow of [64, 2 ** 29, false] as const) {
        const start = performance.now();
        await using model = await Model.load(file, { slidingWindow });
        const { usage } = await model.generate('Once', { maxTokens: 20, ignoreEos: true }).result();
        expect(usage.completionTokens).toBe(20);
        expect(performance.now() - start).toBeLessThan(2000);
        expect(model.info.contextSize).toBeLessThanOrEqual(2 ** 30);
        expect(model.info.contextSource).toMatch(
          slidingWindow === 64 ? /^file$/ : /^(file|what fits: of .* MB)/,
        );
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('info says which kernels run: nothing falls back in silence', async () => {
  await using model = await Model.load(path);
  expect(model.info.implementation).toMatch(
    /^(amx|avx512-vnni|avx-vnni|avx2|neon-i8mm|neon-dot|scalar)$/,
  );
});

test('a file cut short, or full of rubbish, is an error that names it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    const whole = readFileSync(path);
    const cut = join(directory, 'cut.gguf');
    writeFileSync(cut, whole.subarray(0, whole.length - 1000));
    await expect(Model.load(cut)).rejects.toMatchObject({
      code: 'INVALID_FILE',
      message: expect.stringContaining('cut.gguf') as string,
    });
    const rubbish = join(directory, 'rubbish.gguf');
    writeFileSync(rubbish, Buffer.alloc(5000, 7));
    await expect(Model.load(rubbish)).rejects.toMatchObject({
      message: expect.stringContaining('rubbish.gguf') as string,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe('a directory whose tokenizer files differ from the model', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tramontane-sizes-'));
    cpSync(fixture('gptq/swa-gptq-b4-g128-actorder'), folder, { recursive: true });
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test('the end token that tokenizer_config.json names ends a generation', async () => {
    const config = {
      add_bos_token: false,
      eos_token: '<end>',
      added_tokens_decoder: { 383: { content: '<end>', special: true } },
    };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    await using model = await Model.load(folder);
    expect(model.tokenizer).toMatchObject({ eosId: 383, addBos: false });
    const generation = model.generate('a', { allowedTokens: [383], maxTokens: 3 });
    expect(await generation.result()).toMatchObject({
      tokenIds: [383],
      text: '',
      finishReason: 'stop',
      usage: { promptTokens: model.tokenizer.encode('a').length },
    });
  });

  test('a token that was added beyond the rows is neither text nor prompt', async () => {
    const config = {
      bos_token: '<pad>',
      added_tokens_decoder: { 384: { content: '<pad>', special: false } },
    };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    await using model = await Model.load(folder);
    expect(model.info.vocabularySize).toBe(384);
    expect(model.tokenizer.idOf('<pad>')).toBe(384);
    expect(model.tokenizer.encode('a<pad>').every((id) => id < 384)).toBe(true);
    const result = await model.generate('a<pad>', { maxTokens: 3 }).result();
    expect(result.tokenIds.length).toBeGreaterThan(0);
    expect(() => model.generate([1, 384])).toThrow(
      expect.objectContaining({ code: 'INVALID_PROMPT' }) as Error,
    );
  });

  test('rows without a piece have no text, and no other generation is disturbed', async () => {
    const { bytes } = sentencePieceSource({ pieces: [...basePieces(), { piece: '▁a' }] });
    writeFileSync(join(folder, 'tokenizer.model'), bytes);
    await using model = await Model.load(folder);
    expect(model.tokenizer.vocabularySize).toBe(260);
    expect(model.tokenizer.decode([259, 300, 383])).toBe('a');
    const results = await Promise.all(
      [1, 2, 3, 4].map((seed) =>
        model.generate([1, 300], { seed, temperature: 100, maxTokens: 40 }).result(),
      ),
    );
    for (const { tokenIds } of results) expect(tokenIds.length).toBeGreaterThan(0);
  });

  test('a tokenizer with more text than the model has rows is of another model', async () => {
    const pieces = Array.from({ length: 200 }, (_, n) => ({ piece: `▁${n}` }));
    const { bytes } = sentencePieceSource({ pieces: [...basePieces(), ...pieces] });
    writeFileSync(join(folder, 'tokenizer.model'), bytes);
    await expect(Model.load(folder)).rejects.toMatchObject({
      code: 'INVALID_FILE',
      message: expect.stringContaining('384 rows') as string,
    });
  });
});
