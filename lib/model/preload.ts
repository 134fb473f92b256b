/** The option `preload`: brings a model's files into memory before they are mapped. */
import { open } from 'node:fs/promises';
import { TramontaneError } from '../errors';
import type { Checkpoint } from '../files/checkpoint';

const PIECE_BYTES = 16 << 20;

/**
 * Reads the files once, so that the system keeps them in memory.
 * @param onProgress takes the part that is done and may throw to give up
 * @throws TramontaneError FILE_NOT_READABLE
 */
export async function preload(
  files: Checkpoint['files'],
  onProgress: (fraction: number) => void,
): Promise<void> {
  const total = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  let done = 0;
  for (const { path } of files) {
    const file = await open(path).catch((error: unknown) => {
      throw new TramontaneError('FILE_NOT_READABLE', (error as Error).message);
    });
    try {
      for (;;) {
        onProgress(Math.min(done / total, 1));
        const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
    } finally {
      await file.close();
    }
  }
}
