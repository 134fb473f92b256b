/** GGUF models in several files: which are taken, and what is said of one that is missing or foreign. */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Checkpoint } from '../../lib/files/checkpoint';
import { readTokenizerSource } from '../../lib/files/find-tokenizer';
import { openCheckpoint } from '../../lib/files/open';
import { modelGguf, PART_NAMES, splitGguf, type GgufBuilder } from './gguf-builder';
import { refused } from './refused';

const root = mkdtempSync(join(tmpdir(), 'tramontane-parts-'));
afterAll(() => {
  rmSync(root, { recursive: true });
});

let directories = 0;
function write(made: readonly GgufBuilder[], names: readonly string[] = PART_NAMES): string {
  const path = join(root, String(directories++));
  mkdirSync(path);
  for (const [i, part] of made.entries()) part.writeSparse(join(path, names[i]!));
  return path;
}

/** File, offset and name of each weight, as in the part that holds it. */
function places(checkpoint: Checkpoint): unknown[] {
  return checkpoint.weights.map(({ name, storage }) => {
    if (storage.format === 'GPTQ') throw new Error('GPTQ in GGUF');
    return [name, storage.range.file];
  });
}

test('the directory, the first part or any other opens them all', async () => {
  const path = write(splitGguf());
  const expected = splitGguf().flatMap(({ tensors }, file) =>
    tensors.map(({ name }) => [name, file]),
  );
  for (const given of [path, ...PART_NAMES.map((name) => join(path, name))]) {
    const checkpoint = await openCheckpoint(given);
    expect(checkpoint.path).toBe(given);
    expect(checkpoint.files.map((file) => file.path)).toEqual(
      PART_NAMES.map((name) => join(path, name)),
    );
    expect(places(checkpoint)).toEqual(expected);
    expect(checkpoint.tokenizer).toHaveProperty('pieces.length', 32);
    expect(checkpoint.formats).toEqual((await openCheckpoint(write([modelGguf()]))).formats);
    expect(await readTokenizerSource(given)).toEqual(checkpoint.tokenizer);
  }
});

test('a first part without tensors, and a model of one part', async () => {
  const empty = splitGguf(([first, second]) => {
    second!.tensors.unshift(...first!.tensors.splice(0));
  });
  expect((await openCheckpoint(write(empty))).weights).toHaveLength(12);
  const one = modelGguf().set('split.no', 'u16', 0).set('split.count', 'u16', 1);
  expect((await openCheckpoint(write([one], ['x.gguf']))).files).toHaveLength(1);
});

test('a missing part is named, whichever was opened', async () => {
  for (const missing of PART_NAMES) {
    const path = write(splitGguf());
    rmSync(join(path, missing));
    const left = PART_NAMES.filter((name) => name !== missing).map((name) => join(path, name));
    for (const given of [path, ...left]) {
      await refused(openCheckpoint(given), 'FILE_NOT_READABLE', `${missing}: not there`);
    }
  }
});

describe('a foreign part is named', () => {
  test.each<[string, (made: GgufBuilder[]) => unknown, string]>([
    ['of another number', (made) => made[1]!.set('split.no', 'u16', 2), 'says it is part 3 of 3'],
    ['of another count', (made) => made[1]!.set('split.count', 'u16', 4), 'says it is part 2 of 4'],
    ['that is no part', (made) => made[1]!.remove('split.no'), 'split.no is missing'],
    [
      'with the tensors of another',
      (made) => made[1]!.tensors.splice(0, 4, ...made[0]!.tensors),
      'is also in',
    ],
    [
      'with too few tensors',
      (made) => made[1]!.tensors.splice(0, 1),
      'split.tensors.count is 12, and the parts have 11 tensors',
    ],
  ])('%s', async (_, spoil, message) => {
    const path = write(splitGguf(spoil));
    const [first, second] = PART_NAMES.map((name) => join(path, name));
    await refused(openCheckpoint(first!), 'INVALID_FILE', message);
    if (!message.startsWith('split.tensors')) {
      await refused(openCheckpoint(first!), 'INVALID_FILE', second!);
    }
  });

  test('of no GGUF', async () => {
    const path = write(splitGguf());
    cpSync(__filename, join(path, PART_NAMES[2]!));
    await refused(openCheckpoint(path), 'INVALID_FILE', PART_NAMES[2]!, 'not GGUF');
  });
});

test('a part under another name says how parts are named', async () => {
  const path = write(splitGguf(), ['a.gguf', 'b.gguf', 'c.gguf']);
  const advice = 'its name must end in -00001-of-00003.gguf';
  await refused(openCheckpoint(join(path, 'a.gguf')), 'INVALID_FILE', 'a.gguf', advice);
});

test('a directory with the parts of two models lists them', async () => {
  const path = write(splitGguf());
  modelGguf().writeSparse(join(path, 'z.gguf'));
  await refused(openCheckpoint(path), 'INVALID_FILE', 'holds 4 .gguf files; name the one to open');
});
