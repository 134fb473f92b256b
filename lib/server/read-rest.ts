import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';

/**
 * Passes over what a client still sends of a request that is refused: one whose connection is closed
 * while it writes sees only that, and tries again.
 * @param most bytes; what is longer is cut off
 */
export async function readRest(request: IncomingMessage, most: number): Promise<void> {
  let left = most;
  request.on('data', ({ length }: Buffer) => {
    left -= length;
    if (left < 0) request.destroy();
  });
  await finished(request, { writable: false }).catch(() => undefined);
}
