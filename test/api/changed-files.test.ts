/** A model's file changes while the model is loaded: no crash, and nothing computed from other bytes. */
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';

const original = join(__dirname, '../../models/breeze-Q4_0.gguf');
const posix = process.platform === 'win32' ? describe.skip : describe;

posix('a file under a loaded model', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
    path = join(directory, 'model.gguf');
    copyFileSync(original, path);
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  const story = (model: Model): Promise<string> =>
    model.generate('Once upon a time', { maxTokens: 12, temperature: 0 }).text();

  // Truncation takes pages away that the next step reads: SIGBUS, where it is not handled.
  test.each(['before its first use', 'after a generation'])('cut short %s', async (when) => {
    await using model = await Model.load(path);
    if (when !== 'before its first use') await story(model);
    truncateSync(path, 4096);
    const failure = {
      code: 'COMPUTE_FAILED',
      message: expect.stringMatching(/model\.gguf.*changed/),
    };
    await expect(story(model)).rejects.toMatchObject(failure);
    await expect(model.logits([1, 5])).rejects.toMatchObject(failure);
    // The process, and other models, go on.
    await using other = await Model.load(original);
    expect(await story(other)).not.toBe('');
  });

  test('overwritten in place', async () => {
    await using model = await Model.load(path);
    await story(model);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(7, bytes.length / 2));
    await expect(story(model)).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
  });

  test('renamed, replaced by another of its name, or removed: the model keeps what it loaded', async () => {
    await using model = await Model.load(path);
    const expected = await story(model);
    renameSync(path, join(directory, 'moved.gguf'));
    writeFileSync(path, 'another');
    expect(await story(model)).toBe(expected);
    unlinkSync(join(directory, 'moved.gguf'));
    expect(await story(model)).toBe(expected);
  });
});
