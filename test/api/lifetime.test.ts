/** Worker threads, processes that end, models that nobody disposed of. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Model } from '../../lib';

const linux = process.platform === 'linux' ? test : test.skip;
const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
const typescript = join(__dirname, '../../scripts/typescript.js');
const prompt = [1, 403, 407, 272, 389];

interface Message {
  readonly started?: boolean;
  readonly text?: string;
}

function startWorker(maxTokens: number): Worker {
  return new Worker(join(__dirname, 'workers/generate.ts'), {
    workerData: { path, prompt, maxTokens },
    execArgv: ['-r', typescript],
  });
}

/** The first message for which `wanted` holds. */
function message(worker: Worker, wanted: (message: Message) => boolean): Promise<Message> {
  return new Promise((resolve, reject) => {
    worker.on('message', (received: Message) => {
      if (wanted(received)) resolve(received);
    });
    worker.on('error', reject);
  });
}

function run(
  scenario: string,
  env: NodeJS.ProcessEnv = {},
): { status: number | null; stdout: string; stderr: string } {
  const script = join(__dirname, 'workers/process.ts');
  const child = spawnSync(process.execPath, ['-r', typescript, script, scenario], {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, ...env },
  });
  return { status: child.status, stdout: child.stdout, stderr: child.stderr };
}

test('two workers, each with a model, while the main thread generates', async () => {
  await using model = await Model.load(path);
  const expected = await model
    .generate(prompt, { temperature: 0, maxTokens: 300, ignoreEos: true })
    .text();
  const workers = [startWorker(300), startWorker(300)];
  const texts = workers.map((worker) => message(worker, ({ text }) => text !== undefined));
  const own = model.generate(prompt, { temperature: 0, maxTokens: 300, ignoreEos: true }).text();
  expect(await own).toBe(expected);
  for (const received of await Promise.all(texts)) expect(received.text).toBe(expected);
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test('a worker terminated in the middle of a generation, 50 times', async () => {
  await using model = await Model.load(path);
  const expected = await model.generate(prompt, { temperature: 0, maxTokens: 20 }).text();
  for (let round = 0; round < 50; round++) {
    const worker = startWorker(4000);
    await message(worker, ({ started }) => started === true);
    await worker.terminate();
  }
  const text = await model.generate(prompt, { temperature: 0, maxTokens: 20 }).text();
  expect(text).toBe(expected);
}, 120_000);

test('a worker terminated at any moment of its start, 20 times', async () => {
  for (let round = 0; round < 20; round++) {
    const worker = startWorker(4000);
    await new Promise((resolve) => setTimeout(resolve, 20 * round));
    await worker.terminate();
  }
}, 120_000);

test('a process with idle models that nobody disposed of exits by itself', () => {
  expect(run('idle')).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('a process stays until its generation has ended', () => {
  expect(run('inFlight')).toEqual({ status: 0, stdout: '200 tokens\n', stderr: '' });
});

test('process.exit() in the middle of a generation is no crash', () => {
  expect(run('exit')).toEqual({ status: 7, stdout: '', stderr: '' });
});

test('a failure nobody looks at is not an unhandled rejection', () => {
  expect(run('unobserved')).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('an idle model uses no CPU', () => {
  const { status, stdout } = run('idleCpu');
  expect(status).toBe(0);
  // Of a thousand milliseconds; a spinning thread would use all of them.
  expect(Number(stdout)).toBeLessThan(200);
});

test('TRAMONTANE_CPU forces the kernels; an unknown name is an error that lists the known ones', () => {
  expect(run('implementation', { TRAMONTANE_CPU: 'scalar' }).stdout).toBe('scalar\n');
  expect(run('implementation', { TRAMONTANE_CPU: 'mmx' }).stdout).toMatch(
    /INVALID_OPTION.*mmx.*scalar/,
  );
});

linux('memory is given back by dispose(), not by the garbage collector', async () => {
  const mapped = (): boolean =>
    readFileSync('/proc/self/maps', 'utf8').includes('breeze-Q4_0.gguf');
  const model = await Model.load(path);
  await model.generate('Once', { maxTokens: 5 }).text();
  expect(mapped()).toBe(true);
  await model.dispose();
  expect(mapped()).toBe(false);
});

linux(
  'a model that nobody disposed of and nobody has is collected, threads and mapping with it',
  () => {
    expect(run('collected', { NODE_OPTIONS: '--expose-gc' })).toEqual({
      status: 0,
      stdout: 'mapped 3, then 0\n',
      stderr: '',
    });
  },
);
