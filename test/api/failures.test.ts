/** What goes wrong in one request ends that request, with an error that has a code, and no other. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { modelGguf, TINY } from '../files/gguf-builder';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');

test('weights that are not numbers fail the request that meets them, and nothing else', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    // Scales of some Q4_0 blocks become NaN: the tensors of the file's last part.
    const bytes = Buffer.from(readFileSync(path));
    bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 20_000);
    const broken = join(directory, 'broken.gguf');
    writeFileSync(broken, bytes);
    await using model = await Model.load(broken);
    await expect(model.generate('Once').text()).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
    await expect(model.generate('Once').result()).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
    expect(model.info.kvCache.pagesInUse).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe('a token whose text cannot be had', () => {
  test.each([
    ['while it runs', 2],
    ['at its last token', 1],
  ])('ends its request %s, and nothing else', async (_, maxTokens) => {
    await using model = await Model.load(path);
    const known = model.tokenizer.tokenBytes.bind(model.tokenizer);
    const cause = new TypeError('out of order');
    jest.spyOn(model.tokenizer, 'tokenBytes').mockImplementation((id) => {
      if (id === 300) throw cause;
      return known(id);
    });
    const options = { maxTokens: 200, ignoreEos: true, logitBias: { 300: -Infinity } };
    const others = Array.from({ length: 3 }, (__, i) => model.generate([10 + i], options).result());
    const failing = model.generate('Once', { maxTokens, allowedTokens: [300] });
    await expect(failing.result()).rejects.toMatchObject({ code: 'COMPUTE_FAILED', cause });
    for (const { usage } of await Promise.all(others)) expect(usage.completionTokens).toBe(200);
    expect(model.info.kvCache.pagesInUse).toBe(0);
  });
});

describe('a vocabulary of another size than the model', () => {
  const load = async (pieces: number): Promise<Model> => {
    const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
    const file = join(directory, 'padded.gguf');
    const ids = Array.from({ length: pieces }, (_, id) => id);
    modelGguf({ ...TINY, vocabulary: 32 })
      .array(
        'tokenizer.ggml.tokens',
        'string',
        ids.map((id) => `▁${id}`),
      )
      .array('tokenizer.ggml.scores', 'f32', ids)
      .array(
        'tokenizer.ggml.token_type',
        'i32',
        // Beyond the rows there are only control tokens, such as a padding token.
        ids.map((id) => (id === 0 ? 2 : id < 32 ? 1 : 3)),
      )
      .writeSparse(file);
    try {
      return await Model.load(file, { backend: 'cpu' });
    } finally {
      rmSync(directory, { recursive: true });
    }
  };

  test('rows without a piece are never drawn, whatever the options say', async () => {
    await using model = await load(28);
    for (const options of [{}, { logitBias: { 29: 100, 3: 1 } }, { allowedTokens: [3, 29, 31] }]) {
      // All weights are zero: every token is as likely as every other.
      const common = { temperature: 100, maxTokens: 200, ignoreEos: true };
      const { tokenIds } = await model.generate([5], { ...common, ...options }).result();
      expect(tokenIds.length).toBe(200);
      expect(Math.max(...tokenIds)).toBeLessThan(28);
    }
    const impossible = model.generate([5], { allowedTokens: [29] });
    await expect(impossible.result()).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('pieces beyond the rows load, and are refused where they are used', async () => {
    await using model = await load(40);
    expect(model.info.vocabularySize).toBe(32);
    const { usage } = await model.generate([5], { maxTokens: 3, ignoreEos: true }).result();
    expect(usage.completionTokens).toBe(3);
    expect(() => model.generate([35])).toThrow(/prompt\[0\].*31/);
  });
});

test('logits that are not numbers are an error of logits() and perplexity() too', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    const bytes = Buffer.from(readFileSync(path));
    bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 20_000);
    const broken = join(directory, 'broken.gguf');
    writeFileSync(broken, bytes);
    await using model = await Model.load(broken);
    const failed = { code: 'COMPUTE_FAILED', message: expect.stringContaining('finite') as string };
    await expect(model.logits('Once')).rejects.toMatchObject(failed);
    await expect(model.logits('Once', { positions: [0, 1] })).rejects.toMatchObject(failed);
    await expect(model.perplexity('Once')).rejects.toMatchObject(failed);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
