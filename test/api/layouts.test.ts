/** The same weights in other files: split GGUF and Mistral's own layout compute what one file does. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { openFile } from '../../lib/files/byte-source';
import { readGguf } from '../../lib/files/gguf/reader';
import { GgufBuilder } from '../files/gguf-builder';
import { MISTRAL_MODULES } from '../files/mistral-builder';
import { safetensorsFile, type HfTensor } from '../files/hf-builder';
import { describeWithReference } from '../reference';
import { largestDifference, readReference } from './reference-logits';

const scratch = mkdtempSync(join(tmpdir(), 'tramontane-layouts-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: readonly [number, number];
}

/** The tensors of a safetensors file, with their bytes. */
function tensorsOf(path: string): HfTensor[] {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, Entry>;
  delete header['__metadata__'];
  return Object.entries(header).map(
    ([
      name,
      {
        dtype: type,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const data = bytes.subarray(start + from, start + to);
      return { name, type, shape, byteLength: data.length, data };
    },
  );
}

/**
 * Rows of a query or key weight from halves to neighbours: of a head of 8 rows, 0 1 2 3 4 5 6 7
 * become 0 4 1 5 2 6 3 7, since row i + 4 is rotated together with row i.
 */
function neighbours(tensor: HfTensor, heads: number): HfTensor {
  const rows = tensor.shape[0]!;
  const rowBytes = tensor.byteLength / rows;
  const half = rows / heads / 2;
  const order = Array.from({ length: rows }, (_, row) => {
    const head = row - (row % (2 * half));
    const inHead = row % (2 * half);
    return head + Math.floor(inHead / 2) + (inHead % 2) * half;
  });
  const data = Buffer.concat(
    order.map((row) => tensor.data!.subarray(row * rowBytes, (row + 1) * rowBytes)),
  );
  return { ...tensor, data };
}

describeWithReference('layouts', (directory) => {
  const prompt = readReference(join(directory, 'logits/swa-hf.safetensors')).promptIds;
  const logitsOf = async (path: string): Promise<Float32Array> => {
    await using model = await Model.load(path, { backend: 'cpu' });
    return await model.logits(prompt);
  };

  test("Mistral's own: the logits of the Hugging Face layout", async () => {
    const original = join(directory, 'hf/swa');
    const config = JSON.parse(readFileSync(join(original, 'config.json'), 'utf8')) as Record<
      string,
      number
    >;
    const tensors = tensorsOf(join(original, 'model.safetensors')).map((tensor) => {
      let changed = tensor;
      if (tensor.name.includes('q_proj'))
        changed = neighbours(tensor, config['num_attention_heads']!);
      if (tensor.name.includes('k_proj'))
        changed = neighbours(tensor, config['num_key_value_heads']!);
      const name = MISTRAL_MODULES.reduce((old, [from, to]) => old.replace(from, to), tensor.name);
      return { ...changed, name };
    });
    const folder = mkdtempSync(join(scratch, 'mistral-'));
    writeFileSync(join(folder, 'consolidated.safetensors'), safetensorsFile(tensors).start);
    cpSync(join(original, 'tokenizer.model'), join(folder, 'tokenizer.model'));
    const params = {
      dim: config['hidden_size'],
      n_layers: config['num_hidden_layers'],
      head_dim: 32,
      hidden_dim: config['intermediate_size'],
      n_heads: config['num_attention_heads'],
      n_kv_heads: config['num_key_value_heads'],
      norm_eps: config['rms_norm_eps'],
      vocab_size: config['vocab_size'],
      sliding_window: config['sliding_window'],
    };
    writeFileSync(join(folder, 'params.json'), JSON.stringify(params));
    // Only the order of the sums inside a head differs; logits have a standard deviation of 2.
    expect(largestDifference(await logitsOf(folder), await logitsOf(original))).toBeLessThan(1e-3);
  });

  test('a split GGUF: the same bits as one file', async () => {
    const original = join(directory, 'gguf/swa-Q4_0.gguf');
    const source = await openFile(original);
    const header = await readGguf(source);
    await source.close();
    const bytes = readFileSync(original);
    const tensors = [...header.tensors.values()].sort((a, b) => a.offset - b.offset);
    const values = [...header.metadata].map(([key, { at }]) => ({ key, start: at - 4 }));
    const table = Math.min(...tensors.map(({ at }) => at));
    const folder = mkdtempSync(join(scratch, 'split-'));
    for (const part of [0, 1, 2]) {
      const gguf = new GgufBuilder();
      for (const [i, { key, start }] of (part === 0 ? values : []).entries()) {
        const next = values[i + 1];
        // Before a value are its type, and before that its key with a length of eight bytes.
        const end = next === undefined ? table : next.start - 8 - Buffer.byteLength(next.key);
        gguf.raw(key, bytes.subarray(start, end));
      }
      gguf.set('split.no', 'u16', part).set('split.count', 'u16', 3);
      gguf.set('split.tensors.count', 'i32', tensors.length);
      const data = tensors.flatMap(({ name, dimensions, type, offset }, i) => {
        if (i % 3 !== part) return [];
        const tensor = bytes.subarray(offset, tensors[i + 1]?.offset ?? bytes.length);
        gguf.tensors.push({ name, dimensions: [...dimensions], type, byteLength: tensor.length });
        return [tensor];
      });
      const { header: start, byteLength } = gguf.build();
      const file = Buffer.alloc(byteLength);
      start.copy(file);
      const weights = Buffer.concat(data);
      weights.copy(file, byteLength - weights.length);
      writeFileSync(join(folder, `m-0000${part + 1}-of-00003.gguf`), file);
    }
    expect(await logitsOf(folder)).toEqual(await logitsOf(original));
  });
});
