/**
 * GPTQ checkpoints packed here by hand, from integers that are known, against what the format's
 * definition gives in doubles: w[k][n] = (q[k][n] - zero[g_idx[k]][n]) * scale[g_idx[k]][n].
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { HfBuilder, TINY_HF, type HfShape } from '../files/hf-builder';
import { fixture } from '../reference';
import { plainLogits } from './plain-forward';
import { largestDifference, normalizedError } from './reference-logits';

interface Packing {
  readonly bits: number;
  readonly groupSize: number;
  /** Inputs of each group: neighbours; as many, scattered; or any number, none too. */
  readonly order: 'plain' | 'shuffled' | 'uneven';
  readonly zeroFormat: 'gptq' | 'gptq_v2';
  readonly head: boolean;
}

const SHAPE: HfShape = { ...TINY_HF, vocabulary: 384 };
const TOKENS = [1, 17, 300, 42, 5, 383, 64];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-packed-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Numbers of 0 to `below` - 1, the same ones each time. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Sets field `index` of a stream of words that lie `stride` words apart, bit by bit. */
function putField(
  words: Buffer,
  first: number,
  stride: number,
  bits: number,
  index: number,
  value: number,
): void {
  for (let bit = 0; bit < bits; bit++) {
    const at = index * bits + bit;
    const byte = 4 * (first + Math.floor(at / 32) * stride) + Math.floor((at % 32) / 8);
    words[byte]! |= ((value >> bit) & 1) << (at % 8);
  }
}

/** A directory, and its weights [outputs][inputs] in doubles. */
function pack(packing: Packing): { hf: HfBuilder; weights: Map<string, number[][]> } {
  const { bits, groupSize, order, zeroFormat } = packing;
  const random = randomFrom(bits * 1000 + groupSize);
  const hf = new HfBuilder(SHAPE, {
    bits,
    groupSize,
    quantized: (module) => module !== 'lm_head' || packing.head,
  });
  Object.assign(hf.quantization(), {
    checkpoint_format: zeroFormat,
    desc_act: order !== 'plain',
    sym: false,
  });
  const tokenizer = fixture('gptq/swa-gptq-b4-g128-actorder/tokenizer.json');
  hf.files['tokenizer.json'] = readFileSync(tokenizer, 'utf8');
  delete hf.files['tokenizer.model'];

  const weights = new Map<string, number[][]>();
  for (const { name, shape } of [...hf.tensors]) {
    const module = name.replace(/\.\w+$/, '');
    if (name.endsWith('.weight')) {
      const [rows, columns] = shape.length === 1 ? [1, shape[0]!] : (shape as [number, number]);
      weights.set(module, plainTensor(hf, name, rows, columns, random));
    } else if (name.endsWith('.qweight')) {
      weights.set(module, gptqTensors(hf, module, packing, random));
    }
  }
  return { hf, weights };
}

/** Random values of BF16: the upper halves of floats. */
function plainTensor(
  hf: HfBuilder,
  name: string,
  rows: number,
  columns: number,
  random: (below: number) => number,
): number[][] {
  const floats = Float32Array.from({ length: rows * columns }, () =>
    rows === 1 ? 0.5 + random(1000) / 1000 : (random(2001) - 1000) / 2500,
  );
  const words = new Uint32Array(floats.buffer);
  words.forEach((word, i) => (words[i] = word & 0xffff0000));
  hf.find(name).data = Buffer.from(Uint16Array.from(words, (word) => word >>> 16).buffer);
  return Array.from({ length: rows }, (_, n) => [
    ...floats.subarray(n * columns, (n + 1) * columns),
  ]);
}

function gptqTensors(
  hf: HfBuilder,
  module: string,
  { bits, groupSize, order, zeroFormat }: Packing,
  random: (below: number) => number,
): number[][] {
  const [wordRows, rows] = hf.find(`${module}.qweight`).shape as [number, number];
  const columns = (wordRows * 32) / bits;
  const size = groupSize === -1 ? columns : groupSize;
  const groups = Math.ceil(columns / size);
  const groupOf = Array.from({ length: columns }, (_, k) => Math.floor(k / size));
  if (order === 'uneven') groupOf.forEach((_, k) => (groupOf[k] = random(groups)));
  for (let k = columns - 1; order === 'shuffled' && k > 0; k--) {
    const j = random(k + 1);
    [groupOf[k], groupOf[j]] = [groupOf[j]!, groupOf[k]!];
  }
  hf.find(`${module}.g_idx`).data = Buffer.from(Int32Array.from(groupOf).buffer);

  const most = 2 ** bits - 1;
  const qzeros = Buffer.alloc((groups * rows * bits) / 8);
  const scales = new Uint16Array(groups * rows);
  const zero: number[][] = [];
  const scale: number[][] = [];
  for (let g = 0; g < groups; g++) {
    zero.push([]);
    scale.push([]);
    for (let n = 0; n < rows; n++) {
      // All ones in every third field: 0 in v1, where what is stored is the zero point less one.
      const stored = n % 3 === 0 ? most : n % 3 === 1 ? 0 : random(most + 1);
      putField(qzeros, (g * rows * bits) / 32, 1, bits, n, stored);
      zero[g]!.push(zeroFormat === 'gptq_v2' ? stored : (stored + 1) % 2 ** bits);
      // An F16 of three bits of mantissa.
      const [exponent, eighths] = [14 - bits - 3 + random(2), random(8)];
      scales[g * rows + n] = (exponent << 10) | (eighths << 7);
      scale[g]!.push(2 ** (exponent - 15) * (1 + eighths / 8));
    }
  }
  hf.find(`${module}.qzeros`).data = qzeros;
  hf.find(`${module}.scales`).data = Buffer.from(scales.buffer);

  const qweight = Buffer.alloc((columns * rows * bits) / 8);
  const weights = Array.from({ length: rows }, (_, n) =>
    groupOf.map((g, k) => {
      // Near the zero point more often than not, as weights are.
      const q = random(3) === 0 ? random(most + 1) : (zero[g]![n]! + random(3)) & most;
      putField(qweight, n, rows, bits, k, q);
      return (q - zero[g]![n]!) * scale[g]![n]!;
    }),
  );
  hf.find(`${module}.qweight`).data = qweight;
  return weights;
}

const CASES: Packing[] = [
  { bits: 2, groupSize: 32, order: 'shuffled', zeroFormat: 'gptq', head: false },
  { bits: 2, groupSize: 64, order: 'plain', zeroFormat: 'gptq_v2', head: false },
  { bits: 3, groupSize: -1, order: 'plain', zeroFormat: 'gptq', head: true },
  { bits: 3, groupSize: 32, order: 'uneven', zeroFormat: 'gptq', head: false },
  { bits: 4, groupSize: 32, order: 'shuffled', zeroFormat: 'gptq', head: true },
  { bits: 4, groupSize: 64, order: 'plain', zeroFormat: 'gptq', head: false },
  { bits: 4, groupSize: 32, order: 'uneven', zeroFormat: 'gptq_v2', head: false },
  { bits: 8, groupSize: 32, order: 'shuffled', zeroFormat: 'gptq', head: true },
  { bits: 8, groupSize: 128, order: 'plain', zeroFormat: 'gptq_v2', head: false },
];

describe.each(CASES)(
  '$bits bits by $groupSize, $order, $zeroFormat, quantized head $head',
  (packing) => {
    let path: string;
    let expected: Float32Array;
    const positions = TOKENS.map((_, i) => i);

    beforeAll(() => {
      const { hf, weights } = pack(packing);
      path = join(directory, Object.values(packing).join('-'));
      hf.write(path);
      const { layers, heads, kvHeads, hidden } = SHAPE;
      const shape = {
        layers,
        heads,
        kvHeads,
        headSize: hidden / heads,
        ropeBase: 10_000,
        epsilon: 1e-5,
      };
      expected = Float32Array.from(plainLogits(weights, shape, TOKENS).flat());
    });

    test('exact mode: every logit is what the definition gives', async () => {
      const power = expected.reduce((sum, value) => sum + value ** 2, 0) / expected.length;
      expect(power).toBeGreaterThan(0.1);
      expect(power).toBeLessThan(100);
      await using model = await Model.load(path, { compute: 'f32', kvCacheType: 'f32' });
      const logits = await model.logits(TOKENS, { positions });
      expect(largestDifference(logits, expected)).toBeLessThanOrEqual(2e-4);
    });

    test('by default: a small normalized error', async () => {
      await using model = await Model.load(path);
      const logits = await model.logits(TOKENS, { positions });
      expect(normalizedError(logits, expected)).toBeLessThanOrEqual(packing.bits < 4 ? 3e-3 : 1e-3);
    });

    test('from a cache file: the same bits', async () => {
      const loads = [undefined, 'written', 'read'].map((use) => async () => {
        const gptqCache = use === undefined ? {} : { gptqCache: `${path}.cache` };
        await using model = await Model.load(path, { backend: 'cpu', ...gptqCache });
        const isNeeded = packing.order !== 'plain';
        expect(model.info.gptqCache?.use).toBe(isNeeded || use === undefined ? use : 'unused');
        return await model.logits(TOKENS, { positions });
      });
      const plain = await loads[0]!();
      expect(await loads[1]!()).toEqual(plain);
      expect(await loads[2]!()).toEqual(plain);
    });
  },
);
