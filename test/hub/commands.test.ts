/** pull, list, remove and where, and the other commands with a source for a model. */
import { existsSync, readdirSync, readFileSync, writeFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DownloadBar } from '../../lib/cli/download-bar';
import { table } from '../../lib/cli/list';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { aliases } from '../../lib/hub/aliases';
import type { PullProgress } from '../../lib';
import { outcome, run, start } from '../cli/command';
import { hubEnvironment, type HubEnvironment } from './environment';
import { lfs, sha256, small } from './hub-server';

const commit = '12'.repeat(20);
const embedded = readFileSync(EMBEDDED_MODEL);
const other = Buffer.alloc(200_000, 7);
let place: HubEnvironment;

beforeEach(async () => {
  const files = {
    'breeze.Q4_0.gguf': lfs(embedded),
    'breeze.Q8_0.gguf': lfs(other),
    'same.Q6_K.gguf': lfs(other),
    'README.md': small('# Breeze'),
  };
  place = await hubEnvironment({ 'Own/Breeze-GGUF': { commit, files } });
});

afterEach(() => place.close());

const repository = () => join(place.cache, 'models--Own--Breeze-GGUF');
const blobs = () => readdirSync(join(repository(), 'blobs'));

describe('pull', () => {
  test('writes the path alone to standard output, plain lines to the other when piped', async () => {
    const { status, stdout, stderr } = await run('pull', 'hf:Own/Breeze-GGUF');
    expect(status).toBe(0);
    const path = join(repository(), 'snapshots', commit, 'breeze.Q4_0.gguf');
    expect(stdout).toBe(`${path}\n`);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(
        /^tramontane: taking Q4_0 of hf:Own\/Breeze-GGUF, which has Q4_0, Q8_0/,
      ),
      'tramontane: fetching breeze.Q4_0.gguf, 947 kB',
    ]);
    expect(readFileSync(path).equals(embedded)).toBe(true);
  });

  test('--json', async () => {
    const { stdout } = await run('pull', 'hf:Own/Breeze-GGUF:Q4_0', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      source: 'hf:Own/Breeze-GGUF:Q4_0',
      bytes: embedded.length,
      fetchedBytes: embedded.length,
    });
    const again = await run('pull', 'hf:Own/Breeze-GGUF:Q4_0', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ fetchedBytes: 0 });
  });

  test('a failure is one line and exit code 1', async () => {
    const { status, stdout, stderr } = await run('pull', 'hf:Own/Nothing');
    expect(stderr).toMatch(/^tramontane: there is no hf:Own\/Nothing[^\n]*\n$/);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('Ctrl-C ends it with exit code 130, and it goes on afterwards', async () => {
    place.hub.pause = 20;
    const child = start('pull', 'hf:Own/Breeze-GGUF:Q4_0');
    const ended = outcome(child);
    place.hub.onSent = () => child.kill('SIGINT');
    const { status, stderr } = await ended;
    expect(status).toBe(130);
    expect(stderr).toMatch(/interrupted; the same command goes on from here\n$/);
    place.hub.onSent = () => {};
    place.hub.pause = 0;
    expect((await run('pull', 'hf:Own/Breeze-GGUF:Q4_0')).status).toBe(0);
  });
});

describe('the other commands', () => {
  test('generate fetches a source, and then needs no server', async () => {
    const args = ['generate', 'hf:Own/Breeze-GGUF:Q4_0', '-p', 'Once upon a time', '-n', '12'];
    const fetched = await run(...args, '-t', '0');
    expect(fetched.status).toBe(0);
    const before = place.hub.asked.length;
    const [again, plain] = await Promise.all([
      run(...args, '-t', '0'),
      run('generate', '-p', 'Once upon a time', '-n', '12', '-t', '0'),
    ]);
    expect(place.hub.asked.length).toBe(before);
    expect(fetched.stdout).toBe(plain.stdout);
    expect(again).toMatchObject({ status: 0, stdout: plain.stdout, stderr: '' });
  });

  test('inspect and tokenize do so too', async () => {
    const inspected = await run('inspect', 'hf:Own/Breeze-GGUF:Q4_0', '--json');
    expect(JSON.parse(inspected.stdout)).toMatchObject({ kind: 'gguf' });
    const tokens = await run('tokenize', 'hf:Own/Breeze-GGUF:Q4_0', '-p', 'a time', '--ids');
    expect(tokens.stdout).toMatch(/^\d+( \d+)*\n$/);
  });
});

describe('list, where, remove', () => {
  test('list has what was pulled, with its quantization, size and last use', async () => {
    await run('pull', 'hf:Own/Breeze-GGUF:Q4_0');
    await run('pull', `${place.hub.cdn}/${sha256(other)}`);
    const { stdout } = await run('list');
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^NAME +SIZE +LAST USED$/);
    expect(lines[1]).toMatch(/^hf:Own\/Breeze-GGUF:Q4_0 +947 kB +(now|\d+ min ago)$/);
    expect(lines[2]).toMatch(new RegExp(`^${place.hub.cdn}/${sha256(other)} +200 kB +`));
    const { models } = JSON.parse((await run('list', '--json')).stdout);
    expect(models).toMatchObject([
      { source: 'hf:Own/Breeze-GGUF:Q4_0', quant: 'Q4_0', bytes: embedded.length },
      { bytes: other.length },
    ]);
  });

  test('an empty list says how to begin', async () => {
    expect((await run('list')).stdout).toMatch(/^no models are here; tramontane pull /);
  });

  test('--aliases has each with what it is, in 80 columns', async () => {
    const { stdout } = await run('list', '--aliases');
    for (const { name, source } of aliases) {
      expect(stdout).toContain(`${name}\n`);
      expect(stdout).toContain(`  ${source}  `);
    }
    const widths = stdout.split('\n').map((line) => line.length);
    expect(Math.max(...widths)).toBeLessThanOrEqual(80);
    const json = JSON.parse((await run('list', '--aliases', '--json')).stdout);
    expect(json.aliases).toHaveLength(aliases.length);
  });

  test('where gives paths and directories, without a network', async () => {
    const missing = await run('where', 'hf:Own/Breeze-GGUF:Q4_0');
    expect(missing).toMatchObject({ status: 1, stdout: '' });
    expect(missing.stderr).toMatch(/^tramontane: [^\n]*tramontane pull hf:Own\/Breeze-GGUF:Q4_0/);
    const { stdout: path } = await run('pull', 'hf:Own/Breeze-GGUF:Q4_0');
    const before = place.hub.asked.length;
    expect((await run('where', 'hf:Own/Breeze-GGUF:Q4_0')).stdout).toBe(path);
    expect((await run('where')).stdout.split('\n')[0]).toBe(place.cache);
    expect(JSON.parse((await run('where', '--json')).stdout)).toMatchObject({ hub: place.cache });
    expect(place.hub.asked.length).toBe(before);
  });

  test('remove deletes a file, but no bytes that another name has', async () => {
    for (const quant of ['Q4_0', 'Q8_0', 'Q6_K']) await run('pull', `hf:Own/Breeze-GGUF:${quant}`);
    const shared = await run('remove', 'hf:Own/Breeze-GGUF:Q8_0', '--json');
    expect(JSON.parse(shared.stdout)).toMatchObject([{ source: 'hf:Own/Breeze-GGUF:Q8_0' }]);
    expect(blobs()).toContain(sha256(other));
    const { stdout } = await run('remove', 'hf:Own/Breeze-GGUF:Q6_K');
    expect(stdout).toBe('removed hf:Own/Breeze-GGUF:Q6_K: 200 kB\n');
    expect(blobs()).toEqual([sha256(embedded)]);
    expect((await run('where', 'hf:Own/Breeze-GGUF:Q4_0')).status).toBe(0);
    await run('remove', 'hf:Own/Breeze-GGUF:Q4_0');
    expect(existsSync(repository())).toBe(false);
  });

  test('remove of a repository, of a URL, of nothing, and of a path', async () => {
    await run('pull', 'hf:Own/Breeze-GGUF:Q4_0');
    const url = `${place.hub.cdn}/${sha256(other)}`;
    await run('pull', url);
    expect((await run('remove', 'hf:Own/Breeze-GGUF', url)).status).toBe(0);
    expect(existsSync(repository())).toBe(false);
    expect((await run('list')).stdout).toMatch(/^no models/);
    expect(await run('remove', 'hf:Own/Breeze-GGUF')).toMatchObject({
      status: 1,
      stderr: 'tramontane: hf:Own/Breeze-GGUF is not here; tramontane list shows what is\n',
    });
    expect((await run('remove', EMBEDDED_MODEL)).status).toBe(2);
    expect(existsSync(EMBEDDED_MODEL)).toBe(true);
    expect((await run('remove')).status).toBe(2);
  });

  test('what interrupted downloads left is shown, and removed', async () => {
    await run('pull', 'hf:Own/Breeze-GGUF:Q4_0');
    const left = join(repository(), 'blobs', `${'0'.repeat(64)}.tramontane.incomplete`);
    writeFileSync(left, Buffer.alloc(100_000, 1));
    truncateSync(left, 10_000_000);
    expect((await run('list')).stdout).toMatch(/\n1 interrupted download, 10\d kB: .*--incomplete/);
    expect((await run('remove', '--incomplete')).stdout).toMatch(/interrupted downloads: 10\d kB/);
    expect(existsSync(left)).toBe(false);
    expect((await run('list')).stdout).toContain('Q4_0');
  });
});

describe('what a terminal shows', () => {
  const at: PullProgress = {
    phase: 'download',
    file: 'mistral-7b-instruct-v0.2.Q4_K_M.gguf',
    bytes: 0,
    cachedBytes: 0,
    totalBytes: 4_368_439_584,
    fraction: 0,
  };

  function watch(columns: number, isTTY = true) {
    const written: string[] = [];
    let now = 0;
    const screen = { columns, isTTY, write: (text: string) => written.push(text) };
    const bar = new DownloadBar(screen, () => now);
    for (const seconds of [0, 1, 2, 3]) {
      now = seconds;
      const bytes = seconds * 100e6;
      bar.update({ ...at, bytes, fraction: bytes / at.totalBytes });
    }
    return written.map((text) => text.replace('\r\x1b[K', ''));
  }

  test('a bar with name, part, rate and time left, in one line', () => {
    const line = watch(80).at(-1)!;
    expect(line).toMatch(
      /^….*Q4_K_M\.gguf \[#+\.+\] {2}6% 300\.0 MB of 4\.37 GB {2}100\.0 MB\/s {3}41 s left$/,
    );
    expect(line.length).toBeLessThan(80);
  });

  test('fits narrow terminals', () => {
    for (const columns of [60, 70, 100, 200]) {
      for (const line of watch(columns)) expect(line.length).toBeLessThan(columns);
    }
  });

  test('elsewhere a plain line now and then', () => {
    expect(watch(80, false)).toEqual(['tramontane: 2% of 4.37 GB, 100.0 MB/s, 43 s left\n']);
  });

  test('a list in columns', () => {
    const now = new Date('2026-01-10T12:00:00Z');
    const text = table(
      {
        models: [
          {
            source: 'hf:TheBloke/Mistral-7B-Instruct-v0.2-GGUF:Q4_K_M',
            path: 'x',
            quant: 'Q4_K_M',
            bytes: 4_368_439_584,
            lastUsed: new Date('2026-01-07T11:00:00Z'),
          },
          {
            source: 'hf:TheBloke/Mistral-7B-Instruct-v0.2-GPTQ',
            path: 'y',
            quant: 'GPTQ 4 bits',
            bytes: 4_160_000_000,
            lastUsed: now,
          },
        ],
        incomplete: [],
      },
      now,
    );
    expect(text).toBe(
      'NAME                                              SIZE     LAST USED  QUANT\n' +
        'hf:TheBloke/Mistral-7B-Instruct-v0.2-GGUF:Q4_K_M  4.37 GB  3 d ago\n' +
        'hf:TheBloke/Mistral-7B-Instruct-v0.2-GPTQ         4.16 GB  now        GPTQ 4 bits\n',
    );
  });
});
