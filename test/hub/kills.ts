/**
 * A process that pulls is killed at random bytes, again and again, until there were so many kills;
 * then it may end. The server says what was sent how often.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubServer, lfs, sha256 } from './hub-server';

const CHUNK = 64 * 1024;
const CONNECTIONS = 4;
/** Bytes between a start and its kill, at most. */
const MOST_BETWEEN = 8 * CHUNK;

export interface KillReport {
  readonly kills: number;
  /** Of those, after the last byte, while the whole was checked and given its name. */
  readonly lateKills: number;
  readonly size: number;
  readonly sent: number;
  /** What the kills may have cost: what was under way on each connection. */
  readonly allowed: number;
  /** How often the byte was sent that was sent most often. */
  readonly mostOften: number;
  readonly isRight: boolean;
  /** Names of files that are left in the cache beside the blob. */
  readonly leftOver: readonly string[];
}

/** @param kills of which a tenth come after the last byte, as long as there is something to kill */
export async function killRepeatedly(kills: number): Promise<KillReport> {
  const bytes = randomBytes(Math.ceil(kills * 0.8) * MOST_BETWEEN + 12_345);
  const hub = await HubServer.start({
    'Own/Killed-GGUF': { commit: 'ab'.repeat(20), files: { 'm.Q4_K_M.gguf': lfs(bytes) } },
  });
  hub.pause = 1;
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-kills-'));
  try {
    const repository = join(folder, 'models--Own--Killed-GGUF');
    const journal = join(repository, 'blobs', `${sha256(bytes)}.tramontane.journal`);
    let done = 0;
    let lateKills = 0;
    while (done < kills) {
      const isLate = kills - done <= Math.max(1, kills / 10);
      const first = startPull(hub, folder);
      const limit = hub.sent + randomInt(1, MOST_BETWEEN);
      const wasKilled = await (isLate ? killLate(first, journal) : killAt(first, hub, limit));
      if (wasKilled) {
        ++done;
        if (isLate) ++lateKills;
      } else if (!isLate) throw new Error(`the download ended after ${done} kills`);
      else ++done; // It was done before the kill came, which is as good.
    }
    const path = await finished(startPull(hub, folder));
    const counts = hub.counts.get(sha256(bytes))!;
    return {
      kills: done,
      lateKills,
      size: bytes.length,
      sent: hub.sent,
      allowed: bytes.length + kills * CONNECTIONS * CHUNK,
      mostOften: counts.reduce((most, count) => Math.max(most, count), 0),
      isRight: readFileSync(path).equals(bytes),
      leftOver: readdirSync(join(repository, 'blobs')).filter((name) => name !== sha256(bytes)),
    };
  } finally {
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function startPull(hub: HubServer, folder: string): ChildProcess {
  const settings = { chunkBytes: CHUNK, connections: CONNECTIONS, pauseMs: 20 };
  return spawn(
    process.execPath,
    [
      '-r',
      join(__dirname, '../../scripts/typescript.js'),
      join(__dirname, 'pull-child.ts'),
      'hf:Own/Killed-GGUF:Q4_K_M',
      folder,
      JSON.stringify(settings),
    ],
    { env: { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HOME: folder } },
  );
}

/** @returns whether the process was killed, and had not ended by itself */
function killAt(child: ChildProcess, hub: HubServer, limit: number): Promise<boolean> {
  hub.onSent = (sent) => {
    if (sent >= limit) child.kill('SIGKILL');
  };
  return ended(child).finally(() => {
    hub.onSent = () => {};
  });
}

/** Lets all bytes come, and kills while they are checked, named, or linked. */
function killLate(child: ChildProcess, journal: string): Promise<boolean> {
  const timer = setInterval(() => {
    if (!isComplete(journal)) return;
    clearInterval(timer);
    setTimeout(() => child.kill('SIGKILL'), randomInt(0, 60));
  }, 2);
  return ended(child).finally(() => {
    clearInterval(timer);
  });
}

/** Whether all pieces are noted: a line each, after the first. */
function isComplete(journal: string): boolean {
  try {
    const [head, ...lines] = readFileSync(journal, 'utf8').trimEnd().split('\n');
    const { size } = JSON.parse(head!) as { size: number };
    return lines.length >= Math.ceil(size / CHUNK);
  } catch {
    return false; // There is none yet, or none any more.
  }
}

function ended(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr!.on('data', (data: Buffer) => (said += data.toString()));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 1) reject(new Error(said));
      else resolve(signal === 'SIGKILL');
    });
  });
}

async function finished(child: ChildProcess): Promise<string> {
  let path = '';
  child.stdout!.on('data', (data: Buffer) => (path += data.toString()));
  await ended(child);
  return path.trim();
}
