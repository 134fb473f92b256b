/** `tramontane doctor` names every backend, and says why one does not work. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeEmulated, plugin } from '../cuda/plugin';

const root = join(__dirname, '../..');

interface Diagnosis {
  readonly version: string;
  readonly cpu: { works: boolean; implementation: string; implementations: string[] };
  readonly memory: {
    freeBytes: number;
    limitBytes: number;
    larger: { source: string; bytes: number }[];
  };
  readonly cuda: {
    readonly works: boolean;
    readonly problem?: string;
    readonly plugin?: string;
    readonly driverVersion?: string;
    readonly devices?: { name: string; supported: boolean }[];
  };
}

function doctor(
  environment: Record<string, string>,
  ...args: string[]
): { status: number | null; stdout: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['-r', join(root, 'scripts/typescript.js'), join(root, 'lib/cli/main.ts'), 'doctor', ...args],
    { encoding: 'utf8', env: { ...process.env, ...environment } },
  );
  expect(stderr).toBe('');
  return { status, stdout };
}

function diagnose(environment: Record<string, string>): Diagnosis {
  const { status, stdout } = doctor(environment, '--json');
  expect(status).toBe(0);
  return JSON.parse(stdout) as Diagnosis;
}

test('without a plug-in: the CPU works, CUDA does not, and why', () => {
  const { cpu, cuda, version } = diagnose({ TRAMONTANE_CUDA_PLUGIN: '/nowhere/plug-in.so' });
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
  expect(cpu.works).toBe(true);
  expect(cpu.implementations).toContain(cpu.implementation);
  expect(cpu.implementations).toContain('scalar');
  expect(cuda.works).toBe(false);
  expect(cuda.problem).toContain('/nowhere/plug-in.so');
});

test('for people: a block for each backend', () => {
  const { status, stdout } = doctor({ TRAMONTANE_CUDA_PLUGIN: '/nowhere/plug-in.so' });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^tramontane \d/);
  expect(stdout).toMatch(/^cpu +works$/m);
  expect(stdout).toMatch(/^ +kernels [\w-]+, \d+ threads/m);
  expect(stdout).toMatch(/^cuda +does not work$/m);
  expect(stdout).toMatch(/^ +TRAMONTANE_CUDA_PLUGIN names/m);
});

test('a choice of kernels that this processor does not have: exit code 1', () => {
  const { status, stdout } = doctor({ TRAMONTANE_CPU: 'abacus' });
  expect(status).toBe(1);
  expect(stdout).toMatch(/^cpu +does not work$/m);
  expect(stdout).toContain("TRAMONTANE_CPU is 'abacus'");
});

test('memory: what is free, and models that are larger', () => {
  const hub = mkdtempSync(join(tmpdir(), 'tramontane-hub-'));
  try {
    const commit = '12'.repeat(20);
    const model = join(hub, 'models--OWNER--REPO');
    const snapshot = join(model, 'snapshots', commit);
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(model, 'refs'));
    writeFileSync(join(model, 'refs/main'), commit);
    const file = join(snapshot, 'm.Q8_0.gguf');
    writeFileSync(file, '');
    truncateSync(file, 2 ** 42); // Takes no disk.
    const environment = { HF_HUB_CACHE: hub, TRAMONTANE_CUDA_PLUGIN: '/nowhere' };
    const { memory } = diagnose(environment);
    expect(memory.freeBytes).toBeGreaterThan(0);
    expect(memory.freeBytes).toBeLessThanOrEqual(memory.limitBytes);
    expect(memory.larger).toEqual([{ source: 'hf:OWNER/REPO:Q8_0', bytes: 2 ** 42 }]);
    const { stdout } = doctor(environment);
    expect(stdout).toMatch(/^ +memory .* free of /m);
    expect(stdout.replace(/\s+/g, ' ')).toContain('hf:OWNER/REPO:Q8_0 (4398.05 GB) is larger');
  } finally {
    rmSync(hub, { recursive: true });
  }
});

describeEmulated('with an emulated device', () => {
  const environment = { TRAMONTANE_CUDA_PLUGIN: plugin };

  test('CUDA works, and the devices are listed', () => {
    const { cuda } = diagnose(environment);
    expect(cuda).toMatchObject({
      works: true,
      plugin,
      driverVersion: '13.0',
      devices: [{ name: 'emulated device', supported: true }],
    });
    expect(cuda.problem).toBeUndefined();
    const { stdout } = doctor(environment);
    expect(stdout).toMatch(/^cuda +works$/m);
    expect(stdout).toMatch(/^ +device 0: emulated device, 8\.6 GB, compute capability 8\.0$/m);
  });

  test.each([
    ['no driver', '0 1 1 1', /no NVIDIA driver.*install/],
    ['an old driver', '12040 1 1 1', /update the driver/],
    ['no device', '13000 0 1 1', /CUDA_VISIBLE_DEVICES/],
  ])('%s: CUDA does not work, and what to do', (_, device, problem) => {
    const { cuda } = diagnose({ ...environment, TRAMONTANE_EMULATED_DEVICE: device });
    expect(cuda.works).toBe(false);
    expect(cuda.problem).toMatch(problem);
  });
});
