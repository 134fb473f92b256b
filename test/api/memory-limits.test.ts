/** What a limit of memory leaves to a model: given by the files of a control group that a test writes. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { estimateMemory, Model, TramontaneError, type LoadOptions } from '../../lib';
import { fixture } from '../reference';

const mockFolder = mkdtempSync(join(tmpdir(), 'tramontane-limit-'));
const inGroup = (name: string) => join(mockFolder, name);

jest.mock('../../lib/model/process-limits', () => ({
  ...jest.requireActual<object>('../../lib/model/process-limits'),
  memoryGroups: () => [
    {
      limits: [`${mockFolder}/limit`],
      usage: `${mockFolder}/usage`,
      stat: `${mockFolder}/stat`,
    },
  ],
}));

/** The group may use so many bytes, and uses none yet. */
function leave(bytes: number): void {
  writeFileSync(inGroup('limit'), String(bytes));
  writeFileSync(inGroup('usage'), '0');
  writeFileSync(inGroup('stat'), '');
}

afterAll(() => {
  rmSync(mockFolder, { recursive: true });
});

const gguf = fixture('gguf/swa-Q4_0.gguf');
const gptq = fixture('gptq/swa-gptq-b4-g128-actorder');

/** The error with which a model is refused; undefined where it is loaded, and generates. */
async function refusal(path: string, options: LoadOptions): Promise<string | undefined> {
  try {
    await using model = await Model.load(path, { backend: 'cpu', threads: 1, ...options });
    await model.generate('Once', { maxTokens: 2 }).text();
    return undefined;
  } catch (error) {
    if (!(error instanceof TramontaneError) || error.code !== 'OUT_OF_MEMORY') throw error;
    return error.message;
  }
}

/** The least limit with which a model is loaded, in bytes. */
async function leastLimit(path: string, options: LoadOptions): Promise<number> {
  let [refused, loaded] = [0, 2 ** 30];
  while (loaded - refused > 1) {
    const middle = Math.floor((refused + loaded) / 2);
    leave(middle);
    if ((await refusal(path, options)) === undefined) loaded = middle;
    else refused = middle;
  }
  return loaded;
}

test('copies of GPTQ weights count, and the advice of the refusal makes them not', async () => {
  const least = await leastLimit(gptq, {});
  leave(least - 1);
  const message = await refusal(gptq, {});
  expect(message).toMatch(/^even with its files out of memory the model needs 512 tokens of KV/);
  expect(message).toMatch(/ that \S+limit has, .*GPTQ weights in order .* or gptqCache: FILE/);
  const options = { gptqCache: inGroup('ordered') };
  const { orderedWeights } = await estimateMemory(gptq);
  expect(orderedWeights).toBeGreaterThan(100_000);
  expect(await leastLimit(gptq, options)).toBe(least - orderedWeights);
});

test('mapped weights do not count: the least context is loaded beside any', async () => {
  const f16 = await leastLimit(gguf, { slidingWindow: false });
  const f32 = await leastLimit(gguf, { slidingWindow: false, kvCacheType: 'f32' });
  const { bytesPerToken } = await estimateMemory(gguf);
  expect(f32 - f16).toBe(512 * bytesPerToken);
  leave(f16);
  const options = { slidingWindow: false, backend: 'cpu', threads: 1 } as const;
  await using model = await Model.load(gguf, options);
  expect(model.info.contextSize).toBe(512);
  expect(model.info.contextSource).toMatch(/^what fits: .*weights take/);
});

test.each(['contextSize', 'kvCacheTokens'])('%s: the number in the refusal fits', async (name) => {
  const options = { slidingWindow: false, contextSize: 512 } as const;
  const { bytesPerToken } = await estimateMemory(gguf);
  const needed = (await leastLimit(gguf, options)) + statSync(gguf).size + 1000 * bytesPerToken;
  leave(Math.ceil((16 / 15) * needed)); // A sixteenth is the reserve.
  const message = await refusal(gguf, { ...options, [name]: 2048 });
  const most = Number(/take (\d+) at most/.exec(message ?? '')?.[1]);
  expect(most).toBeGreaterThan(1400);
  expect(most).toBeLessThan(1600);
  expect(await refusal(gguf, { ...options, [name]: most })).toBeUndefined();
  expect(await refusal(gguf, { ...options, [name]: most + 32 })).toBeDefined();
});
