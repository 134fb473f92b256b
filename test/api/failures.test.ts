/** What goes wrong in one request ends that request, with an error that has a code, and no other. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';

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
