/**
 * What users of other packages complain about, each as a test. Those with a home elsewhere: broken
 * files (test/files), install and size (test/package), windows, aborts and GPTQ (beside this file).
 */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { cgroupCpuQuota } from '../../lib/model/process-limits';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
const linux = process.platform === 'linux' ? test : test.skip;

linux('memory is given back by dispose(), not by the garbage collector', async () => {
  const mapped = (): boolean =>
    readFileSync('/proc/self/maps', 'utf8').includes('breeze-Q4_0.gguf');
  const model = await Model.load(path);
  await model.generate('Once', { maxTokens: 5 }).text();
  expect(mapped()).toBe(true);
  await model.dispose();
  expect(mapped()).toBe(false);
});

linux('the threads option is honoured: one thread computes alone, four are four', async () => {
  const threads = (): number => readdirSync('/proc/self/task').length;
  const before = threads();
  const one = await Model.load(path, { threads: 1 });
  await one.generate('Once', { maxTokens: 5 }).text();
  const withOne = threads();
  const four = await Model.load(path, { threads: 4 });
  // Enough rows for the work to be split.
  await four.logits(new Array<number>(300).fill(5));
  const withFour = threads();
  expect(one.info.threads).toEqual({ count: 1, source: 'option' });
  expect(four.info.threads).toEqual({ count: 4, source: 'option' });
  // Beside the engine's own thread, the shared pool grows to the most any model asked for.
  expect(withFour - withOne).toBeGreaterThanOrEqual(1);
  expect(withFour - before).toBeLessThanOrEqual(2 + 3 + 4); // 2 engines, 3 helpers, Node's own pool.
  await Promise.all([one.dispose(), four.dispose()]);
});

test('a container that has a CPU quota gets no more threads than it may use', () => {
  const files = (contents: Record<string, string>) => (name: string) => contents[name];
  const v2 = '/sys/fs/cgroup/cpu.max';
  expect(cgroupCpuQuota(files({ [v2]: '250000 100000' }))).toBe(2.5);
  expect(cgroupCpuQuota(files({ [v2]: 'max 100000' }))).toBeUndefined();
  const v1 = '/sys/fs/cgroup/cpu/cpu.cfs_';
  const of = (quota: string) => files({ [`${v1}quota_us`]: quota, [`${v1}period_us`]: '100000' });
  expect(cgroupCpuQuota(of('50000'))).toBe(0.5);
  expect(cgroupCpuQuota(of('-1'))).toBeUndefined();
  expect(cgroupCpuQuota(files({}))).toBeUndefined();
  expect(cgroupCpuQuota(files({ [v2]: 'rubbish' }))).toBeUndefined();
});

test('there is no number of sequences to run out of', async () => {
  await using model = await Model.load(path);
  const generations = Array.from({ length: 300 }, (_, i) =>
    model.generate([20 + i], { maxTokens: 3, ignoreEos: true }),
  );
  const results = await Promise.all(generations.map((generation) => generation.result()));
  expect(results.every(({ tokenIds }) => tokenIds.length === 3)).toBe(true);
});

test('a prompt is never cut silently: it is refused, or all of it counts', async () => {
  await using model = await Model.load(path, { contextSize: 100 });
  expect(() => model.generate(new Array<number>(101).fill(5))).toThrow(/101.*100/);
  const { usage } = await model.generate(new Array<number>(99).fill(5), { maxTokens: 1 }).result();
  expect(usage.promptTokens).toBe(99);
});

test('a file cut short, or full of rubbish, is an error that names it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    const whole = readFileSync(path);
    const cut = join(directory, 'cut.gguf');
    writeFileSync(cut, whole.subarray(0, whole.length - 1000));
    await expect(Model.load(cut)).rejects.toMatchObject({
      code: 'INVALID_FILE',
      message: expect.stringContaining('cut.gguf') as string,
    });
    const rubbish = join(directory, 'rubbish.gguf');
    writeFileSync(rubbish, Buffer.alloc(5000, 7));
    await expect(Model.load(rubbish)).rejects.toMatchObject({
      message: expect.stringContaining('rubbish.gguf') as string,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('weights that are not numbers fail the request that meets them, and nothing else', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    // Scales of some Q4_0 blocks become NaN: the tensors of the file's last part.
    const bytes = Buffer.from(readFileSync(path));
    bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 20_000);
    const broken = join(directory, 'broken.gguf');
    writeFileSync(broken, bytes);
    await using model = await Model.load(broken);
    await expect(model.generate('Once').text()).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
    await expect(model.generate('Once').result()).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
    expect(model.info.kvCache.pagesInUse).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('info says which kernels run: nothing falls back in silence', async () => {
  await using model = await Model.load(path);
  expect(model.info.implementation).toMatch(
    /^(amx|avx512-vnni|avx-vnni|avx2|neon-dot|neon|scalar)$/,
  );
});

linux('a large context costs nothing until it is filled', async () => {
  const resident = (): number => {
    const status = readFileSync('/proc/self/status', 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };
  const before = resident();
  // A million tokens of this model's cache are 768 MB.
  await using model = await Model.load(path, { kvCacheTokens: 1_000_000 });
  await model.generate('Once', { maxTokens: 20 }).text();
  expect(model.info.kvCache.tokens).toBe(1_000_000);
  expect(resident() - before).toBeLessThan(100e6);
});

test('the embedded model is about a megabyte', () => {
  expect(existsSync(path)).toBe(true);
  expect(statSync(path).size).toBeLessThan(1.1e6);
});
