/** safetensors promises no alignment: data may begin at any byte. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type LoadOptions } from '../../lib';
import { describeWithReference, fixture } from '../reference';
import { readReference } from './reference-logits';

const { promptIds, positions } = readReference(
  fixture('logits/swa-gptq-b4-g128-actorder.safetensors'),
);

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'tramontane-odd-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

/** Copies a directory with `shift` more spaces at the end of each safetensors header. */
function shifted(directory: string, shift: number): string {
  const copy = join(scratch, `shift-${shift}`);
  rmSync(copy, { recursive: true, force: true });
  cpSync(directory, copy, { recursive: true });
  for (const name of readdirSync(copy).filter((file) => file.endsWith('.safetensors'))) {
    const bytes = readFileSync(join(directory, name));
    const end = 8 + Number(bytes.readBigUInt64LE());
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(end - 8 + shift));
    const parts = [length, bytes.subarray(8, end), Buffer.alloc(shift, ' '), bytes.subarray(end)];
    rmSync(join(copy, name));
    writeFileSync(join(copy, name), Buffer.concat(parts));
  }
  return copy;
}

async function logitsOf(path: string, options: LoadOptions): Promise<Float32Array> {
  await using model = await Model.load(path, options);
  return await model.logits(promptIds, { positions });
}

function testDirectory(directory: string): void {
  test.each<[string, LoadOptions, number[]]>([
    ['by default', {}, [1, 2, 3, 4, 5, 6, 7]],
    ['exact mode', { compute: 'f32' }, [1, 6]],
  ])('%s: the same bits at every offset', async (_, options, shifts) => {
    const expected = await logitsOf(directory, options);
    expect(expected.length).toBeGreaterThan(0);
    for (const shift of shifts) {
      expect(await logitsOf(shifted(directory, shift), options)).toEqual(expected);
    }
  });
}

describe('GPTQ with act-order', () => {
  testDirectory(fixture('gptq/swa-gptq-b4-g128-actorder'));
});

describeWithReference('tensor data at odd offsets', (directory) => {
  describe.each([
    'hf/swa',
    'gptq/swa-gptq-b2-g64',
    'gptq/swa-gptq-b3-g64',
    'gptq/swa-gptq-b4-g128',
    'gptq/swa-gptq-b4-g64-mixed',
    'gptq/swa-gptq-b8-g32',
  ])('%s', (name) => {
    testDirectory(join(directory, name));
  });
});
