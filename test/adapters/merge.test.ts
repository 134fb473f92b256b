/** Models with adapters in their weights. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { openCheckpoint } from '../../lib/files/open';
import { mergeAdapter, type MergeOptions } from '../../lib/model/merge';
import { largestDifference, normalizedError, readReference } from '../api/reference-logits';
import { run } from '../cli/command';
import { refused } from '../files/refused';
import { fixture } from '../reference';

const BASE = fixture('gguf/swa-Q4_0.gguf');
const ADAPTER = fixture('adapters/all-r8');
const { promptIds, positions, logits } = readReference(
  fixture('adapters/all-r8-on-swa-Q4_0.safetensors'),
);
const EXACT = { backend: 'cpu', compute: 'f32', kvCacheType: 'f32' } as const;

let directory: string;
let output: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-merge-'));
  output = join(directory, 'merged.gguf');
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function mergedLogits(options: Partial<MergeOptions>): Promise<Float32Array> {
  await mergeAdapter(BASE, ADAPTER, output, { format: 'F16', scale: 1, ...options });
  await using model = await Model.load(output, EXACT);
  return await model.logits(promptIds, { positions });
}

test('in F32 every logit is within 2e-3 of the reference', async () => {
  expect(largestDifference(await mergedLogits({ format: 'F32' }), logits)).toBeLessThan(2e-3);
});

// What rounding costs of logits. The reference's own quantizers cost this model, from its BF16,
// 6.1e-4 to Q8_0 and 0.141 to Q4_0.
test.each([
  ['F16', 1e-5],
  ['BF16', 1e-3],
  ['Q8_0', 1e-3],
  ['Q4_0', 0.15],
] as const)('in %s a normalized error below %d', async (format, most) => {
  const found = await mergedLogits({ format });
  expect(normalizedError(found, logits)).toBeLessThan(most);
  const { weights } = await openCheckpoint(output);
  const formats = new Set(weights.filter((w) => w.rows > 1).map((w) => w.storage.format));
  expect(formats).toEqual(new Set([format, ...(format === 'Q4_0' ? [] : ['Q4_0'])]));
});

test('another scale is what the adapter beside the model gives', async () => {
  const found = await mergedLogits({ format: 'F32', scale: 0.25 });
  await using model = await Model.load(BASE, EXACT);
  using adapter = await model.loadAdapter(ADAPTER, { scale: 0.25 });
  const expected = await model.logits(promptIds, { positions, adapter });
  expect(largestDifference(found, expected)).toBeLessThan(1e-3);
});

test('what the adapter leaves alone keeps its bytes', async () => {
  await mergedLogits({});
  const [before, after] = [await openCheckpoint(BASE), await openCheckpoint(output)];
  const [old, made] = [readFileSync(BASE), readFileSync(output)];
  const bytesOf = (file: Buffer, { storage }: (typeof before.weights)[number]): Buffer => {
    if (storage.format === 'GPTQ') throw new Error('not in GGUF');
    const { offset, byteLength } = storage.range;
    return file.subarray(offset, offset + byteLength);
  };
  const same = before.weights.filter((weight, i) => {
    return bytesOf(old, weight).equals(bytesOf(made, after.weights[i]!));
  });
  // The norms, the embedding and the output.
  expect(same).toHaveLength(9 * 3 + 3 - 7 * 3);
  expect(after.tokenizer).toMatchObject({ ...before.tokenizer, path: output });
});

test('the command says what it did', async () => {
  const { status, stdout } = await run('merge', BASE, ADAPTER, '-o', output, '--format', 'Q8_0');
  expect(status).toBe(0);
  expect(stdout).toBe(`${output}: 21 weights merged, 1.9 MB\n`);
  expect(existsSync(output)).toBe(true);
  const json = await run('merge', BASE, ADAPTER, '-o', output, '--format', 'Q8_0', '--json');
  const bytes = statSync(output).size;
  expect(JSON.parse(json.stdout)).toEqual({ path: output, weights: 21, bytes });
});

test('models of other files, and adapters that do not fit, leave nothing behind', async () => {
  const options = { format: 'F16', scale: 1 } as const;
  const gptq = fixture('gptq/swa-gptq-b4-g128-actorder');
  await refused(mergeAdapter(gptq, ADAPTER, output, options), 'UNSUPPORTED_FILE', 'no GGUF model');
  const other = fixture('gguf/full-Q4_0.gguf');
  await refused(mergeAdapter(other, ADAPTER, output, options), 'UNSUPPORTED_FILE', 'layers.2');
  const nowhere = join(directory, 'none', 'a.gguf');
  await refused(mergeAdapter(BASE, ADAPTER, nowhere, options), 'FILE_NOT_WRITABLE', nowhere);
  writeFileSync(output, 'kept');
  const controller = new AbortController();
  const aborted = mergeAdapter(BASE, ADAPTER, output, {
    ...options,
    signal: controller.signal,
    onProgress: () => {
      controller.abort(new Error('enough'));
    },
  });
  await expect(aborted).rejects.toThrow();
  expect(readFileSync(output, 'utf8')).toBe('kept');
  expect(readdirSync(directory)).toEqual(['merged.gguf']);
});
