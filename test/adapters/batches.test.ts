/** Requests of several adapters, of none, and adapters that come and go beside them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Adapter, Model } from '../../lib';
import { readReference } from '../api/reference-logits';
import { fixture } from '../reference';
import { buildAdapter, writeAdapter, writeModel } from './builder';

let directory: string;
let modelPath: string;
let paths: string[];
const TOKENS = Array.from({ length: 100 }, (_, i) => (i * 37) % 384);
const POSITIONS = [0, 31, 32, 63, 99];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-adapters-'));
  modelPath = join(directory, 'model');
  writeModel(modelPath);
  paths = [
    buildAdapter(8, 8),
    buildAdapter(3, 6, { seed: 8 }),
    buildAdapter(4, 8, { seed: 9, dora: true }),
  ].map((built, i) => writeAdapter(join(directory, `a${i}`), built));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Logits of a request that is alone in a model of its own. */
async function alone(path?: string, adapterScale?: number): Promise<Float32Array> {
  await using model = await Model.load(modelPath, { backend: 'cpu' });
  const adapter = path === undefined ? undefined : await model.loadAdapter(path);
  return await model.logits(TOKENS, { positions: POSITIONS, adapter, adapterScale });
}

test('rows of different adapters, scales and of none share steps, each as if it were alone', async () => {
  const uses = [undefined, ...paths].flatMap((path) =>
    (path === undefined ? [undefined] : [undefined, 0.5]).map((scale) => ({ path, scale })),
  );
  const expected: Float32Array[] = [];
  for (const { path, scale } of uses) expected.push(await alone(path, scale));
  for (const threads of [1, 2, 3]) {
    await using model = await Model.load(modelPath, { backend: 'cpu', threads });
    const adapters = new Map<string, Adapter>();
    for (const path of paths) adapters.set(path, await model.loadAdapter(path));
    const found = await Promise.all(
      // The same requests twice, in orders that part those of an adapter.
      [...uses, ...uses].map(({ path, scale }) =>
        model.logits(TOKENS, {
          positions: POSITIONS,
          adapter: path === undefined ? undefined : adapters.get(path),
          adapterScale: scale,
        }),
      ),
    );
    found.forEach((logits, i) => {
      expect(logits).toEqual(expected[i % uses.length]);
    });
  }
  expect(new Set(expected.map((logits) => logits.join())).size).toBe(uses.length);
});

test('rows of the model alone have the same bits beside rows of an adapter', async () => {
  const { promptIds, positions } = readReference(fixture('logits/swa-Q4_K_M.safetensors'));
  await using model = await Model.load(fixture('gguf/swa-Q4_K_M.gguf'), { backend: 'cpu' });
  const expected = await model.logits(promptIds, { positions, cacheSalt: 'before' });
  using adapter = await model.loadAdapter(fixture('adapters/all-r8'));
  const options = { maxTokens: 40, ignoreEos: true, temperature: 0 };
  const adapted = [3, 40, 100].map((length) =>
    model.generate(promptIds.slice(0, length), { ...options, adapter }),
  );
  const plain = model.generate(promptIds, options);
  expect(await model.logits(promptIds, { positions })).toEqual(expected);
  const texts = await Promise.all(adapted.map((generation) => generation.result()));
  const beside = await plain.result();
  const again = await model.generate(promptIds, options).result();
  expect(beside.tokenIds).toEqual(again.tokenIds);
  for (const [i, length] of [3, 40, 100].entries()) {
    const { tokenIds } = await model
      .generate(promptIds.slice(0, length), { ...options, adapter, cacheSalt: 'again' })
      .result();
    expect(texts[i]!.tokenIds).toEqual(tokenIds);
  }
});

describe('the cache of prefixes', () => {
  async function cached(model: Model, adapter?: Adapter, adapterScale?: number): Promise<number> {
    const generation = model.generate(TOKENS, { maxTokens: 1, adapter, adapterScale });
    return (await generation.result()).usage.cachedTokens;
  }

  test('pages are of one adapter and one scale', async () => {
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    const [first, second] = [
      await model.loadAdapter(paths[0]!),
      await model.loadAdapter(paths[1]!),
    ];
    expect(await cached(model)).toBe(0);
    expect(await cached(model, first)).toBe(0);
    expect(await cached(model, second)).toBe(0);
    expect(await cached(model, first, 0.5)).toBe(0);
    expect(await cached(model)).toBe(96);
    expect(await cached(model, first)).toBe(96);
    expect(await cached(model, first, 1)).toBe(96);
    expect(await cached(model, second)).toBe(96);
    expect(await cached(model, first, 0.5)).toBe(96);
  });

  test('another content under the same name and path finds none of the pages', async () => {
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    const path = join(directory, 'replaced');
    const expected: Float32Array[] = [];
    for (const seed of [20, 21]) {
      writeAdapter(path, buildAdapter(4, 8, { seed }));
      expected.push(await alone(path));
      using adapter = await model.loadAdapter(path, { name: 'same' });
      expect(await cached(model, adapter)).toBe(0);
      const logits = await model.logits(TOKENS, { positions: POSITIONS, adapter });
      expect(logits).toEqual(expected.at(-1));
    }
    expect(expected[0]).not.toEqual(expected[1]);
  });

  test('an alpha that changes alone is another content', async () => {
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    const path = join(directory, 'alpha');
    for (const alpha of [8, 9]) {
      using adapter = await model.loadAdapter(writeAdapter(path, buildAdapter(4, alpha)));
      expect(await cached(model, adapter)).toBe(0);
    }
  });

  test('the same content loaded again finds its pages', async () => {
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    {
      using adapter = await model.loadAdapter(paths[0]!);
      expect(await cached(model, adapter)).toBe(0);
    }
    using adapter = await model.loadAdapter(paths[0]!, { name: 'other' });
    expect(await cached(model, adapter)).toBe(96);
  });
});

describe('adapters come and go', () => {
  const LONG = { maxTokens: 150, temperature: 0, ignoreEos: true };

  test('a request goes on to its end though its adapter is disposed', async () => {
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    const adapter = await model.loadAdapter(paths[0]!);
    const expected = await model.generate(TOKENS, { ...LONG, adapter }).result();
    const generation = model.generate(TOKENS, { ...LONG, adapter, cacheSalt: 'again' });
    const found: number[] = [];
    for await (const { tokenIds } of generation) {
      found.push(...tokenIds);
      if (found.length >= 3) adapter.dispose();
    }
    expect(found).toEqual(expected.tokenIds);
    expect(adapter.disposed).toBe(true);
    adapter.dispose();
    expect(() => model.generate(TOKENS, { adapter })).toThrow(
      expect.objectContaining({ code: 'DISPOSED' }) as Error,
    );
    await expect(model.logits(TOKENS, { adapter })).rejects.toMatchObject({ code: 'DISPOSED' });
  });

  test('loading and unloading beside requests changes none of them', async () => {
    const expected = await alone(paths[0]);
    await using model = await Model.load(modelPath, { backend: 'cpu' });
    using adapter = await model.loadAdapter(paths[0]!);
    for (let round = 0; round < 8; round++) {
      const options = { positions: POSITIONS, adapter, cacheSalt: String(round) };
      const logits = model.logits(TOKENS, options);
      const others = await Promise.all(paths.map((path) => model.loadAdapter(path)));
      const used = others.map((other) => model.generate(TOKENS, { maxTokens: 5, adapter: other }));
      for (const other of others) other.dispose();
      expect(await logits).toEqual(expected);
      await Promise.all(used.map((generation) => generation.result()));
    }
  });

  test('a model that is disposed ends what its adapters compute', async () => {
    const model = await Model.load(modelPath, { backend: 'cpu' });
    const adapter = await model.loadAdapter(paths[2]!);
    const generation = model.generate(TOKENS, { ...LONG, adapter });
    const loading = model.loadAdapter(paths[1]!);
    await model.dispose();
    expect((await generation.result()).finishReason).toBe('aborted');
    // It is loaded, or the model was quicker.
    await loading.catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'DISPOSED' });
    });
    adapter.dispose();
    await expect(model.loadAdapter(paths[0]!)).rejects.toMatchObject({ code: 'DISPOSED' });
  });
});

describe('what is no adapter of the model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(modelPath, { backend: 'cpu' });
  });
  afterAll(() => model.dispose());

  test('an adapter of another model', async () => {
    await using other = await Model.load(modelPath, { backend: 'cpu' });
    const adapter = await other.loadAdapter(paths[0]!);
    expect(() => model.generate('a', { adapter })).toThrow(
      'adapter must be what loadAdapter() of this model gave, but is an object',
    );
  });

  test.each([
    [{ adapter: 'a0' }, 'adapter must be what loadAdapter()'],
    [{ adapter: null }, 'adapter must be what loadAdapter()'],
    [{ adapterScale: 1 }, 'adapterScale goes with adapter'],
  ])('%p', async (options, message) => {
    expect(() => model.generate('a', options as object)).toThrow(message);
    await expect(model.logits('a', options as object)).rejects.toThrow(message);
    await expect(model.perplexity('a b c', options as object)).rejects.toThrow(message);
  });

  test('scales out of range, and names that are none', async () => {
    using adapter = await model.loadAdapter(paths[0]!);
    for (const adapterScale of [NaN, Infinity, 101, '1' as unknown as number]) {
      expect(() => model.generate('a', { adapter, adapterScale })).toThrow('adapterScale must be');
    }
    await expect(model.loadAdapter(paths[0]!, { scale: 101 })).rejects.toThrow('scale must be');
    await expect(model.loadAdapter(paths[0]!, { name: '' })).rejects.toThrow('name must be');
    await expect(model.loadAdapter(paths[0]!, { rank: 1 } as object)).rejects.toThrow('no option');
    expect(() => Reflect.construct(Adapter, []) as object).toThrow('await model.loadAdapter(path)');
  });

  test('info says what it is', async () => {
    using adapter = await model.loadAdapter(paths[2]!, { name: 'mine', scale: 0.5 });
    const path = join(paths[2]!, 'adapter_model.safetensors');
    expect(adapter.info).toMatchObject({ name: 'mine', path, kind: 'peft', base: 'tiny' });
    expect(adapter.info).toMatchObject({ scale: 0.5, rank: 4, dora: true, weights: 14 });
    expect(adapter.info.bytes).toBeGreaterThan(10_000);
    expect(JSON.parse(JSON.stringify(adapter))).toEqual(adapter.info);
    using other = await model.loadAdapter(path);
    expect(other.info.name).toBe('a2');
  });
});
