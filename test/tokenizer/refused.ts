import { TramontaneError, type TramontaneErrorCode } from '../../lib/errors';

/** Expects a TramontaneError with this code, and every one of `parts` in its message. */
export function refused(
  work: () => unknown,
  code: TramontaneErrorCode,
  ...parts: (string | RegExp)[]
): void {
  let error: unknown;
  try {
    work();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(TramontaneError);
  expect(error).toMatchObject({ code });
  for (const part of parts) expect((error as Error).message).toMatch(part);
}
