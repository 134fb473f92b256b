import { open, rename, rm } from 'node:fs/promises';
import { TramontaneError } from '../errors';

/**
 * Writes a file beside its place and moves it there when all of it is on the disk: whoever is killed
 * meanwhile leaves the one that was.
 * @throws TramontaneError FILE_NOT_WRITABLE
 */
export async function writeWhole(
  path: string,
  write: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await write(async (bytes) => {
        await file.writeFile(bytes);
      });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    const { message } = cause as Error;
    throw new TramontaneError('FILE_NOT_WRITABLE', `${path}: ${message}`, { cause });
  }
}
