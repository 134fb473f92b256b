/** Files other programs wrote: every fact of theirs that their names and README tell. */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Checkpoint, FileRange, GptqParts, Weight } from '../../lib/files/checkpoint';
import { openCheckpoint } from '../../lib/files/open';
import { describeWithReference } from '../reference';

const SWA = {
  layers: 3,
  hiddenSize: 256,
  ffnSize: 512,
  heads: 8,
  kvHeads: 2,
  headSize: 32,
  vocabularySize: 384,
  contextSize: 2048,
  ropeBase: 10_000,
};
const FULL = {
  layers: 2,
  hiddenSize: 512,
  ffnSize: 768,
  heads: 4,
  kvHeads: 1,
  headSize: 128,
  vocabularySize: 419,
  contextSize: 2048,
  ropeBase: 1_000_000,
};

const LAYERS = 'model.layers';

const gptqOf = (checkpoint: Checkpoint): { weight: Weight; gptq: GptqParts }[] =>
  checkpoint.weights.flatMap((weight) =>
    weight.storage.format === 'GPTQ' ? [{ weight, gptq: weight.storage.gptq }] : [],
  );

function weightOf(checkpoint: Checkpoint, role: Weight['role'], layer: number): Weight {
  const found = checkpoint.weights.filter((each) => each.role === role && each.layer === layer);
  expect(found).toHaveLength(1);
  return found[0]!;
}

function bytesOf(checkpoint: Checkpoint, range: FileRange): Buffer {
  const file = openSync(checkpoint.files[range.file]!.path, 'r');
  const bytes = Buffer.alloc(range.byteLength);
  expect(readSync(file, bytes, 0, range.byteLength, range.offset)).toBe(range.byteLength);
  closeSync(file);
  return bytes;
}

function plainBytes(checkpoint: Checkpoint, role: Weight['role'], layer: number): Buffer {
  const { storage } = weightOf(checkpoint, role, layer);
  if (storage.format === 'GPTQ') throw new Error('not plain');
  return bytesOf(checkpoint, storage.range);
}

function rangesOf({ storage }: Weight): FileRange[] {
  if (storage.format !== 'GPTQ') return [storage.range];
  const { qweight, qzeros, scales, groupIndex } = storage.gptq;
  return [qweight, qzeros, scales, ...(groupIndex === undefined ? [] : [groupIndex])];
}

/** Bytes of the last file between the first range and its end that no weight covers. */
function uncovered(checkpoint: Checkpoint): number {
  const ranges = checkpoint.weights
    .flatMap(rangesOf)
    .filter(({ file }) => file === checkpoint.files.length - 1)
    .sort((a, b) => a.offset - b.offset);
  let gaps = 0;
  let end = ranges[0]!.offset;
  for (const { offset, byteLength } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(end);
    gaps += offset - end;
    end = offset + byteLength;
  }
  return gaps + checkpoint.files.at(-1)!.byteLength - end;
}

describeWithReference('GGUF references', (directory) => {
  const names = readdirSync(join(directory, 'gguf'));

  test('all 17 are here', () => {
    expect(names).toHaveLength(17);
  });

  test.each(names)('%s: shape, window, formats, and no byte left over', async (name) => {
    const path = join(directory, 'gguf', name);
    const checkpoint = await openCheckpoint(path);
    const isSwa = name.startsWith('swa');
    const shape = { ...(isSwa ? SWA : FULL), ropePairing: 'neighbours' };
    expect(checkpoint).toMatchObject({ path, kind: 'gguf', architecture: 'llama', shape });
    expect(checkpoint.shape.rmsEpsilon).toBeCloseTo(1e-5, 10);
    expect(checkpoint.endTokens).toEqual([2]);
    expect(checkpoint.slidingWindow).toEqual(
      isSwa && !name.includes('nowindowkey')
        ? { size: 48, source: 'file' }
        : { size: null, source: 'none' },
    );
    const { layers } = shape;
    expect(checkpoint.weights).toHaveLength(9 * layers + 3);
    const [, format] = /-([^-]*?)(-nowindowkey)?\.gguf/.exec(name)!;
    const norms = 2 * layers + 1;
    const matrices = 7 * layers + 2;
    expect(checkpoint.formats).toEqual(
      format === 'Q4_K_M'
        ? { Q4_K: matrices - 4, Q6_K: 4, F32: norms }
        : { [format!]: matrices, F32: norms },
    );
    expect(uncovered(checkpoint)).toBeLessThan(32);
    const { tokenizer } = checkpoint;
    if (tokenizer.kind !== 'gguf') throw new Error(tokenizer.kind);
    expect(tokenizer).toMatchObject({ model: 'llama', bosId: 1, eosId: 2 });
    expect(tokenizer).toMatchObject({ addBos: true, addSpacePrefix: true });
    expect(tokenizer.pieces.slice(0, 3)).toEqual(['<unk>', '<s>', '</s>']);
    expect(tokenizer.pieces).toHaveLength(shape.vocabularySize);
    expect(tokenizer.scores).toHaveLength(shape.vocabularySize);
    expect([...tokenizer.types!.slice(0, 3)]).toEqual([2, 3, 3]);
  });

  test('the bytes of a weight are those of the same weight in the Hugging Face form', async () => {
    const gguf = await openCheckpoint(join(directory, 'gguf/swa-BF16.gguf'));
    const hf = await openCheckpoint(join(directory, 'hf/swa'));
    // Rows of q and k are permuted in GGUF; all others are as they were.
    for (const role of ['value', 'attention_output', 'ffn_gate', 'ffn_up', 'ffn_down'] as const) {
      for (let layer = 0; layer < 3; layer++) {
        expect(plainBytes(gguf, role, layer).equals(plainBytes(hf, role, layer))).toBe(true);
        expect(weightOf(gguf, role, layer)).toMatchObject({
          rows: weightOf(hf, role, layer).rows,
          columns: weightOf(hf, role, layer).columns,
        });
      }
    }
    for (const role of ['token_embedding', 'output'] as const) {
      expect(plainBytes(gguf, role, -1).equals(plainBytes(hf, role, -1))).toBe(true);
    }
    const norm = plainBytes(hf, 'output_norm', -1);
    const widened = Buffer.alloc(norm.length * 2);
    for (let i = 0; i < norm.length; i += 2) norm.copy(widened, 2 * i + 2, i, i + 2);
    expect(plainBytes(gguf, 'output_norm', -1).equals(widened)).toBe(true);
  });

  test('SmolLM2: tied output, mixed formats, byte-level vocabulary, chat template', async () => {
    const path = join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
    const checkpoint = await openCheckpoint(path);
    expect(checkpoint.shape).toMatchObject({ layers: 30, hiddenSize: 576, heads: 9, kvHeads: 3 });
    expect(checkpoint.shape).toMatchObject({ headSize: 64, vocabularySize: 49_152 });
    expect(checkpoint.formats).toEqual({ Q4_1: 210, Q8_0: 1, F32: 61 });
    expect(weightOf(checkpoint, 'output', -1)).toEqual({
      ...weightOf(checkpoint, 'token_embedding', -1),
      role: 'output',
    });
    expect(checkpoint.chatTemplate).toContain('<|im_start|>');
    const { tokenizer } = checkpoint;
    expect(tokenizer).toMatchObject({ kind: 'gguf', model: 'gpt2', pre: 'smollm', addBos: false });
    expect(tokenizer).not.toHaveProperty('scores');
    if (tokenizer.kind !== 'gguf') throw new Error(tokenizer.kind);
    expect(tokenizer.pieces[1]).toBe('<|im_start|>');
    expect(tokenizer.merges).toHaveLength(48_900);
    expect(tokenizer.merges![0]).toBe('\u0120 t');
  });

  test('the embedded model in three forms has one shape', async () => {
    const gguf = await openCheckpoint(join(directory, 'demo/breeze-Q4_0.gguf'));
    const hf = await openCheckpoint(join(directory, 'demo/breeze-hf'));
    const gptq = await openCheckpoint(join(directory, 'demo/breeze-gptq'));
    expect(gguf.name).toBe('Breeze 1.4M');
    expect(gguf.shape).toMatchObject({ layers: 6, hiddenSize: 128, ffnSize: 384, headSize: 32 });
    expect(hf.shape).toEqual({ ...gguf.shape, rmsEpsilon: 1e-5, ropePairing: 'halves' });
    expect(gptq.shape).toEqual(hf.shape);
    for (const each of [gguf, hf, gptq]) {
      expect(each.slidingWindow).toEqual({ size: 64, source: 'file' });
    }
    expect(gguf.formats).toEqual({ Q4_0: 42, Q8_0: 2, F32: 13 });
    expect(gptq.formats).toEqual({ BF16: 15, 'GPTQ-4bit-g128': 42 });
  });
});

describeWithReference('GPTQ references', (directory) => {
  const names = readdirSync(join(directory, 'gptq'));

  test('all 11 are here', () => {
    expect(names).toHaveLength(11);
  });

  test.each(names)('%s: bits, groups, zeros and act-order as its name says', async (name) => {
    const checkpoint = await openCheckpoint(join(directory, 'gptq', name));
    const shape = { ...(name.startsWith('swa') ? SWA : FULL), ropePairing: 'halves' };
    expect(checkpoint).toMatchObject({ kind: 'gptq', architecture: 'mistral', shape });
    expect(checkpoint.weights).toHaveLength(9 * shape.layers + 3);
    const [, bits, group] = /-b(\d)-g(all|\d+)/.exec(name) ?? ['', '4', '128'];
    const actOrder = name.includes('actorder') || name.includes('-b2-');
    let quantized = 0;
    for (const { weight, gptq } of gptqOf(checkpoint)) {
      quantized++;
      const isMixedValue = name.includes('mixed') && weight.role === 'value';
      const groupSize = isMixedValue ? 32 : group === 'all' ? weight.columns : Number(group);
      const groups = weight.columns / groupSize;
      const width = isMixedValue ? 8 : Number(bits);
      expect(gptq).toMatchObject({ bits: width, groupSize, zeroBias: name.endsWith('v2') ? 0 : 1 });
      expect(gptq.actOrder).toBe(actOrder);
      expect(gptq.groupIndex !== undefined).toBe(actOrder);
      expect(gptq.qweight.byteLength).toBe((weight.columns * weight.rows * width) / 8);
      expect(gptq.qzeros.byteLength).toBe((groups * weight.rows * width) / 8);
      expect(gptq.scales).toMatchObject({ format: 'F16', byteLength: 2 * groups * weight.rows });
    }
    expect(checkpoint.gptq).toEqual({
      bits: Number(bits),
      groupSize: group === 'all' ? null : Number(group),
      actOrder,
      symmetric: !/asym|-b2-/.test(name),
      zeroFormat: name.endsWith('v2') ? 'v2' : 'v1',
      plainModules: [...(name.includes('mixed') ? [`${LAYERS}.0.mlp.down_proj`] : []), 'lm_head'],
      otherModules: name.includes('mixed')
        ? { [`${LAYERS}.0-2.self_attn.v_proj`]: 'GPTQ-8bit-g32' }
        : {},
    });
    expect(quantized).toBe(7 * shape.layers - (name.includes('mixed') ? 1 : 0));
    // Only a g_idx that says nothing is left out: four bytes for each input of each module.
    const inputs = gptqOf(checkpoint).reduce((sum, { weight }) => sum + weight.columns, 0);
    expect(uncovered(checkpoint)).toBe(actOrder ? 0 : 4 * inputs);
  });

  test('dynamic: a module in 16 bits, and the v projections in 8 bits by 32', async () => {
    const checkpoint = await openCheckpoint(join(directory, 'gptq/swa-gptq-b4-g64-mixed'));
    expect(checkpoint.formats).toEqual({
      BF16: 10,
      'GPTQ-4bit-g64': 17,
      'GPTQ-8bit-g32': 3,
    });
    expect(weightOf(checkpoint, 'ffn_down', 0).storage.format).toBe('BF16');
    expect(weightOf(checkpoint, 'ffn_down', 1).storage.format).toBe('GPTQ');
  });

  test('tokenizer.model wins over tokenizer.json', async () => {
    const both = await openCheckpoint(join(directory, 'gptq/swa-gptq-b8-g32'));
    expect(both.tokenizer.kind).toBe('sentencepiece');
    const json = await openCheckpoint(join(directory, 'gptq/swa-gptq-b4-g128'));
    expect(json.tokenizer.kind).toBe('tokenizer.json');
  });

  test('a safetensors file of a directory opens the directory', async () => {
    const path = join(directory, 'gptq/swa-gptq-autogptq-era/gptq_model-4bit-128g.safetensors');
    const checkpoint = await openCheckpoint(path);
    expect(checkpoint).toMatchObject({ path, kind: 'gptq' });
    expect(basename(checkpoint.files[0]!.path)).toBe('gptq_model-4bit-128g.safetensors');
  });
});
