/** Adapters in GGUF, whose rows of queries and keys are in another order than PEFT's. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { largestDifference, normalizedError, readReference } from '../api/reference-logits';
import { GgufBuilder, type BuilderFormat } from '../files/gguf-builder';
import { fixture } from '../reference';
import { floats, type Matrix } from './builder';

const NAMES: Readonly<Record<string, string>> = {
  q_proj: 'attn_q',
  k_proj: 'attn_k',
  v_proj: 'attn_v',
  o_proj: 'attn_output',
  gate_proj: 'ffn_gate',
  up_proj: 'ffn_up',
  down_proj: 'ffn_down',
};
const HEAD_SIZE = 32;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-gguf-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** The tensors of the reference's adapter by their names. */
function peftTensors(): Map<string, Matrix> {
  const bytes = readFileSync(fixture('adapters/all-r8/adapter_model.safetensors'));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { shape: [number, number]; data_offsets: [number, number] }
  >;
  delete header['__metadata__'];
  const entries = Object.entries(header).map(
    ([
      name,
      {
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const part = bytes.subarray(8 + length + from, 8 + length + to);
      const values = new Float32Array(new Uint8Array(part).buffer);
      const rows = Array.from({ length: shape[0] }, (_, row) => [
        ...values.subarray(row * shape[1], (row + 1) * shape[1]),
      ]);
      return [name, rows] as const;
    },
  );
  return new Map(entries);
}

/** As converters do: rows of a head [2][size / 2] become [size / 2][2]. */
function permuted(rows: Matrix): Matrix {
  const half = HEAD_SIZE / 2;
  return rows.map((_, i) => {
    const [head, inside] = [Math.floor(i / HEAD_SIZE), i % HEAD_SIZE];
    return rows[head * HEAD_SIZE + (inside % 2) * half + Math.floor(inside / 2)]!;
  });
}

/** Rounds to blocks of Q8_0: the bytes, and the numbers they stand for. */
function q8(matrix: Matrix): { data: Buffer; values: Matrix } {
  const blocks: Buffer[] = [];
  const values = matrix.map((row) => {
    const rounded: number[] = [];
    for (let first = 0; first < row.length; first += 32) {
      const block = Buffer.alloc(34);
      block.writeUInt16LE(0x1400, 0); // 2^-10
      row.slice(first, first + 32).forEach((x, i) => {
        const q = Math.max(-127, Math.min(127, Math.round(x * 1024)));
        block.writeInt8(q, 2 + i);
        rounded.push(q / 1024);
      });
      blocks.push(block);
    }
    return rounded;
  });
  return { data: Buffer.concat(blocks), values };
}

function adapterGguf(alpha: number): GgufBuilder {
  return new GgufBuilder()
    .set('general.architecture', 'string', 'llama')
    .set('general.type', 'string', 'adapter')
    .set('adapter.type', 'string', 'lora')
    .set('adapter.lora.alpha', 'f32', alpha);
}

/** Writes tensors of an adapter, [rows][columns]. */
function writeGguf(
  name: string,
  gguf: GgufBuilder,
  tensors: ReadonlyMap<string, { matrix: Matrix; format: BuilderFormat; data: Buffer }>,
): string {
  for (const [tensor, { matrix, format }] of tensors) {
    gguf.tensor(tensor, format, [matrix[0]!.length, matrix.length]);
  }
  const pad = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 31)]);
  const path = join(directory, name);
  const data = [...tensors.values()].map((tensor) => pad(tensor.data));
  writeFileSync(path, Buffer.concat([pad(gguf.build().header), ...data]));
  return path;
}

/** The reference's adapter in GGUF; of `rounded` A has numbers that Q8_0 has. */
function convert(
  name: string,
  alpha: number,
  format: BuilderFormat = 'F32',
  isRounded = false,
): string {
  const tensors = new Map<string, { matrix: Matrix; format: BuilderFormat; data: Buffer }>();
  for (const [peft, matrix] of peftTensors()) {
    const [, layer, module, part] = /layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])/.exec(peft)!;
    const isB = part === 'B';
    const rows = isB && /^[qk]_proj$/.test(module!) ? permuted(matrix) : matrix;
    const tensor = `blk.${layer}.${NAMES[module!]}.weight.lora_${isB ? 'b' : 'a'}`;
    const { data, values } = q8(rows);
    if (!isB && format === 'Q8_0') tensors.set(tensor, { matrix: rows, format, data });
    else {
      const matrix = !isB && isRounded ? values : rows;
      tensors.set(tensor, { matrix, format: 'F32', data: floats(matrix) });
    }
  }
  return writeGguf(name, adapterGguf(alpha), tensors);
}

describe.each([
  ['swa-Q4_0', 'gguf/swa-Q4_0.gguf'],
  ['swa-gptq-b4-g128-actorder', 'gptq/swa-gptq-b4-g128-actorder'],
])('on %s', (name, path) => {
  const { promptIds, positions, logits } = readReference(
    fixture(`adapters/all-r8-on-${name}.safetensors`),
  );

  test('every logit within 2e-3 of the reference, and the bits of the PEFT adapter', async () => {
    await using model = await Model.load(fixture(path), {
      backend: 'cpu',
      compute: 'f32',
      kvCacheType: 'f32',
    });
    using adapter = await model.loadAdapter(convert('a.gguf', 16));
    expect(adapter.info).toMatchObject({ name: 'a', kind: 'gguf', rank: 8, weights: 21 });
    const found = await model.logits(promptIds, { positions, adapter });
    expect(largestDifference(found, logits)).toBeLessThanOrEqual(2e-3);
    using peft = await model.loadAdapter(fixture('adapters/all-r8'));
    const options = { positions, adapter: peft, cacheSalt: 'own' };
    expect(await model.logits(promptIds, options)).toEqual(found);
  });

  test('alpha is over the rank, and none is 1', async () => {
    await using model = await Model.load(fixture(path), { backend: 'cpu' });
    using peft = await model.loadAdapter(fixture('adapters/all-r8'));
    const scaled = (adapterScale: number): Promise<Float32Array> =>
      model.logits(promptIds, { positions, adapter: peft, adapterScale });
    for (const [alpha, scale] of [
      [4, 0.25],
      [0, 0.5],
    ] as const) {
      using adapter = await model.loadAdapter(convert('a.gguf', alpha));
      expect(await model.logits(promptIds, { positions, adapter })).toEqual(await scaled(scale));
    }
  });

  test('quantized tensors are what they stand for', async () => {
    await using model = await Model.load(fixture(path), { backend: 'cpu' });
    using quantized = await model.loadAdapter(convert('q8.gguf', 16, 'Q8_0'));
    using rounded = await model.loadAdapter(convert('rounded.gguf', 16, 'F32', true));
    const found = await model.logits(promptIds, { positions, adapter: quantized });
    const options = { positions, adapter: rounded, cacheSalt: 'own' };
    expect(await model.logits(promptIds, options)).toEqual(found);
    expect(normalizedError(found, logits)).toBeLessThan(0.02);
  });
});
