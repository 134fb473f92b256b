/**
 * A lock between processes, so that two that want a file do not both fetch it. It is a file with the
 * holder's process id, whose time the holder renews: one whose process has ended, or that was not
 * renewed for long, is taken over. (Node has no flock, which the system would free by itself.) What
 * it guards stays right without it: a file gets its name only when its hash is right.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { failed } from './errors';

const RENEW_MS = 2_000;
/** Longer than any pause of a process that is alive. */
const STALE_MS = 20_000;
const POLL_MS = 100;

interface Holder {
  readonly pid: number;
  /** Where the process id means that process. */
  readonly host: string;
  readonly id: string;
}

/**
 * Runs `body` while no other process does, of those that share the file system.
 * @param onWait called once where another holds the lock, with its process id
 * @param body gets a function that throws when the lock was taken over meanwhile
 * @throws TramontaneError FILE_NOT_WRITABLE; the signal's reason
 */
export async function withLock<T>(
  path: string,
  signal: AbortSignal,
  onWait: (pid: number | undefined) => void,
  body: (check: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const holder: Holder = { pid: process.pid, host: hostId(), id: randomUUID() };
  await mkdir(dirname(path), { recursive: true });
  for (let waits = 0; !(await take(path, holder)); ++waits) {
    if (waits === 0) onWait((await read(path))?.pid);
    await wait(POLL_MS, undefined, { signal });
  }
  const renewal = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, RENEW_MS);
  renewal.unref();
  try {
    return await body(async () => {
      if ((await read(path))?.id === holder.id) return;
      throw failed(
        'this process was stopped for so long that another has taken its download over; try again',
      );
    });
  } finally {
    clearInterval(renewal);
    if ((await read(path))?.id === holder.id) await rm(path, { force: true });
  }
}

async function take(path: string, holder: Holder): Promise<boolean> {
  if (await create(path, holder)) return true;
  const found = await read(path);
  if (!(await isStale(path, found))) return false;
  // Renaming succeeds for one of those who see the same stale lock.
  const aside = `${path}.${holder.id}`;
  try {
    await rename(path, aside);
  } catch {
    return false;
  }
  const taken = await read(aside);
  if (taken?.id !== found?.id) {
    // Meanwhile another took it over, and this is the new holder's.
    await rename(aside, path);
    return false;
  }
  await rm(aside, { force: true });
  return create(path, holder);
}

/** Makes the file with its content at once, or says that there is one. */
async function create(path: string, holder: Holder): Promise<boolean> {
  const text = JSON.stringify(holder);
  const temporary = `${path}.${holder.id}.new`;
  await writeFile(temporary, text);
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    return await createPlainly(path, text); // A file system without hard links.
  } finally {
    await rm(temporary, { force: true });
  }
}

async function createPlainly(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(path: string, holder: Holder | undefined): Promise<boolean> {
  try {
    if (Date.now() - (await stat(path)).mtimeMs > STALE_MS) return true;
  } catch {
    return false; // It was given back.
  }
  return holder?.host === hostId() && !isAlive(holder.pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // Another user's.
  }
}

async function read(path: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Holder;
  } catch {
    return undefined;
  }
}

let host: string | undefined;

/** The machine since its start, and the container: there a process id means one process. */
function hostId(): string {
  host ??= [hostname(), ...linuxIds()].join(' ');
  return host;
}

function linuxIds(): string[] {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return [boot, readlinkSync('/proc/self/ns/pid')];
  } catch {
    return [];
  }
}
