/** Which backend a model gets, and what is said where CUDA cannot be had. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, TramontaneError, type LoadOptions, type LoadProgress } from '../../lib';
import { addonPath } from '../../lib/model/addon';
import { fixture } from '../reference';
import { describeEmulated, otherVersion, plugin, usePlugin } from './plugin';

const path = fixture('gguf/swa-Q4_0.gguf');
const MB = 1e6;

function load(options: LoadOptions): Promise<Model> {
  return Model.load(path, options);
}

async function refusal(options: LoadOptions): Promise<{ code: string; message: string }> {
  const error: unknown = await load(options).then(
    async (model) => {
      await model.dispose();
      return undefined;
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TramontaneError);
  const { code, message } = error as TramontaneError;
  return { code, message };
}

describe('without a plug-in', () => {
  beforeEach(() => {
    usePlugin('/nowhere/plug-in.so');
  });

  test('cuda is an error that says where it was looked for', async () => {
    const { code, message } = await refusal({ backend: 'cuda' });
    expect(code).toBe('BACKEND_UNAVAILABLE');
    expect(message).toMatch(/TRAMONTANE_CUDA_PLUGIN names .*plug-in\.so/);
  });

  test('auto takes the CPU and says why', async () => {
    await using model = await load({});
    expect(model.info.backend).toEqual({
      name: 'cpu',
      source: expect.stringContaining('plug-in.so') as string,
    });
  });

  test('cpu is as asked', async () => {
    await using model = await load({ backend: 'cpu' });
    expect(model.info.backend).toEqual({ name: 'cpu', source: 'option' });
  });

  test('where none is named, the message has the places and what to do', async () => {
    usePlugin('');
    const { code, message } = await refusal({ backend: 'cuda', device: 900 });
    // On a machine that has one, it is the device that is missing.
    expect(['BACKEND_UNAVAILABLE', 'INVALID_OPTION']).toContain(code);
    expect(message).toMatch(/docs\/cuda\.md|driver|device/);
  });
});

test.each([
  ['backend', 'gpu'],
  ['backend', true],
  ['device', -1],
  ['device', 0.5],
  ['device', '0'],
  ['memoryFraction', 0],
  ['memoryFraction', 1.5],
  ['memoryFraction', '0.5'],
])('load() refuses %s: %p', async (name, value) => {
  const { code, message } = await refusal({ [name]: value });
  expect(code).toBe('INVALID_OPTION');
  expect(message).toContain(name);
});

test.each([{ device: 0 }, { memoryFraction: 0.5 }])('backend cpu refuses %p', async (options) => {
  const { code } = await refusal({ backend: 'cpu', ...options });
  expect(code).toBe('INVALID_OPTION');
});

test('a file that is no library, and a library that is no plug-in', async () => {
  usePlugin(__filename);
  expect(await refusal({ backend: 'cuda' })).toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
    message: expect.stringContaining('cannot be loaded') as string,
  });
  usePlugin(addonPath());
  expect(await refusal({ backend: 'cuda' })).toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
    message: expect.stringContaining('not a CUDA plug-in') as string,
  });
  await using model = await load({ backend: 'auto' });
  expect(model.info.backend.source).toContain('not a CUDA plug-in');
});

test('the seam of addon and plug-in is a hash of its headers: a changed, new or lost one is another', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-seam-'));
  try {
    for (const part of ['backend', 'quant']) {
      cpSync(join(__dirname, '../../cpp', part), join(folder, part), { recursive: true });
    }
    const hash = (): string => {
      const file = join(folder, 'seam_hash.h');
      execFileSync(process.execPath, [join(folder, 'backend/write_seam_hash.js'), file]);
      return readFileSync(file, 'utf8');
    };
    const hashes = [hash()];
    expect(hashes[0]).toMatch(/^#define TRAMONTANE_SEAM_HASH 0x[0-9a-f]{16}ull\n$/);
    expect(hash()).toBe(hashes[0]);
    appendFileSync(join(folder, 'backend/cuda_interface.h'), 'struct New {};\n');
    hashes.push(hash());
    writeFileSync(join(folder, 'quant/new.h'), '');
    hashes.push(hash());
    rmSync(join(folder, 'quant/format.h'));
    hashes.push(hash());
    expect(new Set(hashes).size).toBe(4);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describeEmulated('on an emulated device', () => {
  beforeEach(() => {
    usePlugin();
  });

  test('a plug-in of another version is refused', async () => {
    usePlugin(otherVersion);
    expect(await refusal({ backend: 'cuda' })).toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      message: expect.stringMatching(/another version.*same version/) as string,
    });
  });

  test('auto takes it, and the pool is sized by what is free', async () => {
    await using model = await load({ memoryFraction: 0.01 });
    const { backend, implementation, kvCache } = model.info;
    expect(backend.name).toBe('cuda');
    expect(backend.device).toBe('emulated device');
    expect(backend.source).toMatch(/fits/);
    expect(implementation).toBe('cuda sm_80');
    await using larger = await load({ memoryFraction: 0.012 });
    const gained = larger.info.kvCache.tokens - kvCache.tokens;
    // 0.2% of 8 GiB, less what the first model holds, at 768 bytes a token.
    expect(gained).toBeGreaterThan(0);
    expect(gained).toBeLessThanOrEqual((0.002 * 2 ** 33) / 768);
  });

  test('progress is told while weights go over, and what onProgress throws ends the load', async () => {
    const fractions: number[] = [];
    const onProgress = ({ phase, fraction }: LoadProgress): void => {
      if (phase === 'weights') fractions.push(fraction);
    };
    await using model = await load({ backend: 'cuda', kvCacheTokens: 640, onProgress });
    expect(model.info.backend.name).toBe('cuda');
    expect(fractions.length).toBeGreaterThan(1);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(fractions.at(-1)).toBeGreaterThan(0.6);

    const reason = new Error('enough');
    for (const backend of ['cuda', 'auto'] as const) {
      const controller = new AbortController();
      const loading = load({
        backend,
        kvCacheTokens: 640,
        signal: controller.signal,
        onProgress: ({ phase, fraction }) => {
          if (phase === 'weights' && fraction > 0.6) controller.abort(reason);
        },
      });
      await expect(loading).rejects.toBe(reason);
    }
  });

  test("a cache of GPTQ words is the CPU's: unused on a device, used where auto falls back", () => {
    const program = `
      const path = ${JSON.stringify(fixture('gptq/swa-gptq-b4-g128-actorder'))};
      const folder = require('fs').mkdtempSync(require('os').tmpdir() + '/tramontane-cache-');
      const found = [];
      for (let i = 0; i < 2; i++) {
        const model = await Model.load(path, { ...options, gptqCache: folder + '/words' });
        const { backend, gptqCache } = model.info;
        found.push({ name: backend.name, source: backend.source, use: gptqCache.use });
        await model.dispose();
      }
      require('fs').rmSync(folder, { recursive: true });
      console.log(JSON.stringify(found));`;
    const onDevice = { name: 'cuda', source: expect.stringMatching(/fits/), use: 'unused' };
    expect(elsewhere(`13000 1 ${8000 * MB} ${8000 * MB}`, program)).toEqual([onDevice, onDevice]);
    const onCpu = { name: 'cpu', source: expect.stringMatching(/does not fit/) };
    expect(elsewhere(`13000 1 ${20 * MB} ${20 * MB}`, program)).toEqual([
      { ...onCpu, use: 'written' },
      { ...onCpu, use: 'read' },
    ]);
  });

  test('kvCacheTokens is the size of the pool', async () => {
    await using model = await load({ backend: 'cuda', kvCacheTokens: 640 });
    expect(model.info.kvCache.tokens).toBe(640);
    expect(model.info.backend.source).toBe('option');
  });

  test('a device that is not there', async () => {
    const { code, message } = await refusal({ backend: 'cuda', device: 1 });
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/device.*from 0 to 0.*1/);
  });

  test('a pool that does not fit gives the sum', async () => {
    const { code, message } = await refusal({ backend: 'cuda', kvCacheTokens: 2 ** 30 });
    expect(code).toBe('OUT_OF_MEMORY');
    for (const part of ['weights', 'scratch', 'upload', 'KV cache', '1073741824 tokens', 'free']) {
      expect(message).toContain(part);
    }
  });

  // The emulator reads its device when it is loaded: each in a process of its own.
  test.each([
    ['no driver', '0 1 8000000000 8000000000', 'BACKEND_UNAVAILABLE', /no NVIDIA driver.*580/],
    ['an old driver', '12040 1 8000000000 8000000000', 'BACKEND_UNAVAILABLE', /12\.4.*13\.0.*580/],
    ['no device', '13000 0 8000000000 8000000000', 'BACKEND_UNAVAILABLE', /no device/],
    ['a small device', `13000 1 ${20 * MB} ${20 * MB}`, 'OUT_OF_MEMORY', /does not fit.*weights/],
    // Less is to be had than was said to be free: found out while the weights go over.
    [
      'memory that is gone',
      `13000 1 ${8000 * MB} ${8 * MB}`,
      'OUT_OF_MEMORY',
      /weight: .*out of memory/,
    ],
  ])('%s: an error for cuda, the CPU for auto', (_, device, code, message) => {
    const found = loadElsewhere(device);
    expect(found.cuda.code).toBe(code);
    expect(found.cuda.message).toMatch(message);
    expect(found.auto).toEqual({ name: 'cpu', source: found.cuda.message, tokens: 5 });
  });

  test('memory that is gone in the middle of a step fails that request and no other', () => {
    const found = elsewhere(
      `13000 1 ${8000 * MB} ${8.4 * MB}`,
      `const model = await Model.load(path, { ...options, backend: 'cuda' });
       const { code, message } = await model.generate([1, 5]).result().catch((e) => e);
       const logits = await model.logits([1, 5]);
       await model.dispose();
       console.log(JSON.stringify({ code, message, finite: logits.every(Number.isFinite) }));`,
    );
    expect(found).toEqual({
      code: 'OUT_OF_MEMORY',
      message: expect.stringContaining('out of memory') as string,
      finite: true,
    });
  });
});

/** What `cuda` is refused with and what `auto` becomes, in a process with this device. */
function loadElsewhere(device: string): {
  cuda: { code: string; message: string };
  auto: { name: string; source: string; tokens: number };
} {
  return elsewhere(
    device,
    `const { code, message } = await Model.load(path, { ...options, backend: 'cuda' }).catch((e) => e);
     const model = await Model.load(path, options);
     const { tokenIds } = await model.generate([1, 5], { maxTokens: 5, ignoreEos: true }).result();
     const auto = { ...model.info.backend, tokens: tokenIds.length };
     await model.dispose();
     console.log(JSON.stringify({ cuda: { code, message }, auto }));`,
  ) as ReturnType<typeof loadElsewhere>;
}

/** What a program prints as JSON in a process whose emulated device is `device`. */
function elsewhere(device: string, program: string): unknown {
  const root = join(__dirname, '../..');
  const script = `
    const { Model } = require('./lib');
    const path = ${JSON.stringify(path)};
    const options = { kvCacheTokens: 640 };
    (async () => { ${program} })();`;
  const environment = { TRAMONTANE_CUDA_PLUGIN: plugin, TRAMONTANE_EMULATED_DEVICE: device };
  const output = execFileSync(
    process.execPath,
    ['-r', join(root, 'scripts/typescript.js'), '-e', script],
    { cwd: root, encoding: 'utf8', env: { ...process.env, ...environment } },
  );
  return JSON.parse(output);
}
