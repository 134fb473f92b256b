/** Which window a file asks for, on header-only files of Mistral 7B's versions. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SlidingWindow } from '../../lib/files/checkpoint';
import { readGgufCheckpoint } from '../../lib/files/gguf/checkpoint';
import { readHfCheckpoint } from '../../lib/files/hf/checkpoint';
import { openCheckpoint } from '../../lib/files/open';
import { MISTRAL_7B, modelGguf, type BuilderShape, type GgufBuilder } from './gguf-builder';
import { alone } from './memory';
import { HfBuilder } from './hf-builder';

const V01: SlidingWindow = { size: 4096, source: 'v0.1-shape' };
const NONE: SlidingWindow = { size: null, source: 'none' };

async function windowOf(gguf: GgufBuilder): Promise<SlidingWindow> {
  // Without the vocabulary, which does not matter here and takes the most time.
  for (const { key } of [...gguf.values]) if (key.startsWith('tokenizer.')) gguf.remove(key);
  return (await readGgufCheckpoint(gguf.file(), 'given', alone)).slidingWindow;
}

describe('GGUF without a window key', () => {
  const cases: [string, Partial<BuilderShape>, SlidingWindow][] = [
    ['v0.1', {}, V01],
    ['v0.1 without a rope base', { ropeBase: null }, V01],
    ['a fine-tune of 32002 tokens', { vocabulary: 32_002 }, V01],
    ['a fine-tune of 32063 tokens', { vocabulary: 32_063 }, V01],
    ['32064 tokens', { vocabulary: 32_064 }, NONE],
    ['31999 tokens', { vocabulary: 31_999 }, NONE],
    ['v0.2', { ropeBase: 1e6 }, NONE],
    ['v0.3', { ropeBase: 1e6, vocabulary: 32_768 }, NONE],
    ['v0.3 with the old rope base', { vocabulary: 32_768 }, NONE],
    ['another context', { context: 8192 }, NONE],
    ['31 layers', { layers: 31 }, NONE],
    ['another FFN (Llama 2 7B)', { ffn: 11_008 }, NONE],
    ['a KV head for each query head', { kvHeads: 32 }, NONE],
    ['64 heads of 64', { heads: 64 }, NONE],
    ['another hidden size', { hidden: 5120, heads: 40 }, NONE],
  ];
  test.each(cases)('%s', async (_, shape, expected) => {
    expect(await windowOf(modelGguf({ ...MISTRAL_7B, ...shape }))).toEqual(expected);
  });

  test('the shape decides and not the name', async () => {
    const gguf = modelGguf(MISTRAL_7B).set('general.name', 'string', 'mistral-7b-v0.3');
    expect(await windowOf(gguf)).toEqual(V01);
    expect(await windowOf(modelGguf(MISTRAL_7B, 'mistral'))).toEqual(V01);
  });

  test('on disk, through a path', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tramontane-window-'));
    const path = join(directory, 'v01.gguf');
    modelGguf(MISTRAL_7B).writeSparse(path);
    expect((await openCheckpoint(path)).slidingWindow).toEqual(V01);
    rmSync(directory, { recursive: true });
  });
});

describe('GGUF with the key', () => {
  const key = 'llama.attention.sliding_window';
  test.each([
    [1, 1],
    [1024, 1024],
    [0, null],
    [2 ** 31 - 1, 2 ** 31 - 1],
  ])('%d', async (value, size) => {
    const gguf = modelGguf(MISTRAL_7B).set(key, 'u32', value);
    expect(await windowOf(gguf)).toEqual({ size, source: 'file' });
  });

  test("another architecture's key is not looked at", async () => {
    const gguf = modelGguf(MISTRAL_7B).set('mistral.attention.sliding_window', 'u32', 7);
    expect(await windowOf(gguf)).toEqual(V01);
  });
});

describe('config.json', () => {
  const v01 = {
    layers: 32,
    hidden: 4096,
    ffn: 14_336,
    heads: 32,
    kvHeads: 8,
    vocabulary: 32_000,
    context: 32_768,
  };
  const windowOfHf = async (hf: HfBuilder): Promise<SlidingWindow> =>
    (await readHfCheckpoint(hf.folder(), 'given')).slidingWindow;

  test.each([
    [4096, 4096],
    [48, 48],
    [0, null],
    [null, null],
  ])('sliding_window %p', async (value, size) => {
    const hf = new HfBuilder(v01);
    hf.config['sliding_window'] = value;
    expect(await windowOfHf(hf)).toEqual({ size, source: 'file' });
  });

  test('a missing key is decided by the shape', async () => {
    const hf = new HfBuilder(v01);
    delete hf.config['sliding_window'];
    expect(await windowOfHf(hf)).toEqual(V01);
    hf.config['rope_theta'] = 1e6;
    expect(await windowOfHf(hf)).toEqual(NONE);
    delete hf.config['rope_theta'];
    expect(await windowOfHf(hf)).toEqual(V01);
    hf.config['architectures'] = ['LlamaForCausalLM'];
    hf.config['model_type'] = 'llama';
    expect(await windowOfHf(hf)).toEqual(V01);
  });
});
