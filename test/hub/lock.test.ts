/** Who may fetch a file, when several want to. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withLock } from '../../lib/hub/lock';

let folder: string;
let path: string;
const { signal } = new AbortController();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tramontane-lock-'));
  path = join(folder, 'a.lock');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('one at a time, and nothing is left', async () => {
  let inside = 0;
  let most = 0;
  const body = async (): Promise<void> => {
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 20));
    --inside;
  };
  await Promise.all(Array.from({ length: 5 }, () => withLock(path, signal, () => {}, body)));
  expect(most).toBe(1);
  expect(readdirSync(folder)).toEqual([]);
});

/** A lock of this machine as another process would have it. */
async function lockOf(pid: number): Promise<void> {
  let text = '';
  await withLock(
    path,
    signal,
    () => {},
    () => {
      text = readFileSync(path, 'utf8');
      return Promise.resolve();
    },
  );
  writeFileSync(path, JSON.stringify({ ...JSON.parse(text), pid, id: 'another' }));
}

test('the lock of a process that has ended is taken over at once', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  await lockOf(pid);
  let waited: number | undefined;
  await withLock(
    path,
    signal,
    (of) => (waited = of),
    () => Promise.resolve(),
  );
  expect(waited).toBeUndefined();
});

test('that of one that lives is waited for, until it is not renewed any more', async () => {
  await lockOf(process.pid);
  const controller = new AbortController();
  let waited: number | undefined;
  const reason = new Error('enough');
  const waiting = withLock(
    path,
    controller.signal,
    (of) => (waited = of),
    () => Promise.resolve(),
  );
  setTimeout(() => {
    controller.abort(reason);
  }, 300);
  await expect(waiting).rejects.toThrow();
  expect(waited).toBe(process.pid);
  const old = new Date(Date.now() - 60_000);
  utimesSync(path, old, old);
  await withLock(
    path,
    signal,
    () => {},
    () => Promise.resolve(),
  );
});

test('one whose lock was taken over is told before it writes', async () => {
  await withLock(
    path,
    signal,
    () => {},
    async (check) => {
      await check();
      writeFileSync(path, JSON.stringify({ pid: 1, host: 'elsewhere', id: 'another' }));
      await expect(check()).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' });
    },
  );
  // The other's lock stays.
  expect(readdirSync(folder)).toEqual(['a.lock']);
});
