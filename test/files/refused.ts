import type { TramontaneErrorCode } from '../../lib/errors';

/** Expects a rejection with this code, and every one of `parts` in its message. */
export async function refused(
  work: Promise<unknown>,
  code: TramontaneErrorCode,
  ...parts: (string | RegExp)[]
): Promise<void> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ name: 'TramontaneError', code });
  for (const part of parts) expect((error as Error).message).toMatch(part);
}
