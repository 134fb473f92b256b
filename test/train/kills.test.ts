/** A training that is killed at any moment goes on from its last checkpoint, which is always whole. */
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeWhole } from '../../lib/files/write-whole';
import { outcome, start } from '../cli/command';
import { reports } from './style';

const STEPS = 30;
const KILLS = 4;

test('kill -9 loses the steps since the last checkpoint alone', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tramontane-kills-'));
  const data = join(directory, 'data.jsonl');
  await writeFile(
    data,
    reports(STEPS, 1)
      .map((one) => JSON.stringify(one))
      .join('\n'),
  );
  const command = (output: string) => [
    ...['train', '-d', data, '-o', join(directory, output), '--json', '--resume'],
    ...['--rank', '8', '--steps', String(STEPS), '--batch-size', '1', '--no-packing'],
    ...['--checkpoint-every', '1', '--threads', '1'],
  ];
  const steps = (stdout: string) =>
    stdout
      .trim()
      .split('\n')
      .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as { step?: number }]))
      .flatMap(({ step }) => step ?? []);

  const whole = await outcome(start(...command('whole')));
  expect(whole.status).toBe(0);
  expect(steps(whole.stdout)).toHaveLength(STEPS);

  const checkpoint = join(directory, 'killed/checkpoint.safetensors');
  let reached = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const child = start(...command('killed'));
    const seen: number[] = [];
    let killing: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      seen.push(...steps(chunk.toString()));
      // Each step writes a checkpoint: some kills come amidst one.
      if (seen.length >= 3) killing ??= setTimeout(() => child.kill('SIGKILL'), randomInt(0, 30));
    });
    const { signal } = await outcome(child);
    if (signal !== 'SIGKILL') break; // It was done before.
    // A step is reported after its checkpoint.
    expect(seen[0]).toBeGreaterThan(reached);
    expect(seen[0]).toBeLessThanOrEqual(reached + 2);
    reached = seen.at(-1)!;
    expect(existsSync(checkpoint)).toBe(true);
  }
  expect(reached).toBeGreaterThan(0);
  const last = await outcome(start(...command('killed')));
  expect(last.status).toBe(0);
  const adapter = (output: string) =>
    readFile(join(directory, output, 'adapter_model.safetensors'));
  expect(await adapter('killed')).toEqual(await adapter('whole'));
  await rm(directory, { recursive: true });
});

test('a file that is being written is the one before until all of it is there', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tramontane-whole-'));
  const path = join(directory, 'file');
  await writeWhole(path, (write) => write(Buffer.from('before')));
  await writeWhole(path, async (write) => {
    await write(Buffer.from('af'));
    expect(await readFile(path, 'utf8')).toBe('before');
    await write(Buffer.from('ter'));
  });
  expect(await readFile(path, 'utf8')).toBe('after');
  const given = writeWhole(path, async (write) => {
    await write(Buffer.from('half'));
    throw new Error('the disk is full');
  });
  await expect(given).rejects.toMatchObject({ code: 'FILE_NOT_WRITABLE' });
  expect(await readFile(path, 'utf8')).toBe('after');
  expect(await readdir(directory)).toEqual(['file']);
  await rm(directory, { recursive: true });
});
