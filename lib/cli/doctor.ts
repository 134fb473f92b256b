/** `tramontane doctor`: which backends work on this machine, and what to do about the others. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { addonPath } from '../model/addon';
import { findCudaPlugin } from '../model/cuda-plugin';
import { defaultThreads, memoryGroups } from '../model/process-limits';
import { listPulled, type PulledModel } from '../hub/pulled';
import { entry } from './entries';
import type { Style } from './style';
import { sizeText } from './units';
import { native } from '../model/native';

interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly addon?: string;
  readonly cpu: {
    readonly works: boolean;
    readonly problem?: string;
    readonly implementation?: string;
    readonly implementations?: readonly string[];
    readonly threads?: { readonly count: number; readonly source: string };
  };
  readonly memory?: {
    /** What this process may still take, and what has the limit. */
    readonly freeBytes: number;
    readonly limitBytes: number;
    readonly limitedBy: string;
    /** Fetched models that would not stay in it. */
    readonly larger: readonly { readonly source: string; readonly bytes: number }[];
  };
  readonly cuda: {
    readonly works: boolean;
    readonly problem?: string;
    readonly plugin?: string;
    readonly driverVersion?: string;
    readonly runtimeVersion?: string;
    readonly devices?: readonly Device[];
  };
}

interface Device {
  readonly name: string;
  readonly computeCapability: string;
  readonly supported: boolean;
  readonly memoryBytes: number;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Says which backends work here, and if not, why and what to do.')
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane doctor
  $ tramontane doctor --json`,
    )
    .action(async (flags: { readonly json?: true }) => {
      const found = await diagnose();
      process.stdout.write(flags.json ? `${JSON.stringify(found, null, 2)}\n` : report(found));
      if (!found.cpu.works) process.exitCode = 1;
    });
}

async function diagnose(): Promise<Diagnosis> {
  const manifest = readFileSync(join(__dirname, '../../package.json'), 'utf8');
  const facts = {
    version: (JSON.parse(manifest) as { version: string }).version,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
  const plugin = findCudaPlugin();
  const { models } = await listPulled();
  try {
    const { cpu, cuda } = await native().backends(plugin.path);
    const { driverVersion, runtimeVersion, ...rest } = cuda ?? {};
    const addon = addonPath();
    return {
      ...facts,
      ...(addon !== undefined && { addon }),
      cpu: { works: cpu.problem === undefined, ...cpu, threads: defaultThreads() },
      memory: memoryFor(models),
      cuda: {
        works: plugin.path !== undefined && rest.problem === undefined,
        ...(plugin.path === undefined ? { problem: plugin.problem } : { plugin: plugin.path }),
        ...rest,
        ...(driverVersion !== undefined && { driverVersion: versionText(driverVersion) }),
        ...(runtimeVersion !== undefined && { runtimeVersion: versionText(runtimeVersion) }),
      },
    };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return {
      ...facts,
      cpu: { works: false, problem },
      cuda: { works: false, problem: 'it needs the native addon' },
    };
  }
}

/** What is free, and which of the models that were fetched are larger. */
function memoryFor(models: readonly PulledModel[]): NonNullable<Diagnosis['memory']> {
  const free = native().freeMemory(memoryGroups());
  const larger = models
    .filter(({ bytes }) => bytes > free.freeBytes)
    .map(({ source, bytes }) => ({ source, bytes }));
  return { ...free, larger };
}

/** 13000 is 13.0; 0 is none. */
function versionText(version: number): string {
  if (version === 0) return 'none';
  return `${String(Math.floor(version / 1000))}.${String(Math.floor((version % 1000) / 10))}`;
}

/** Two blocks of lines, one a backend, below a line about the package. */
function report({ version, node, platform, addon, cpu, memory, cuda }: Diagnosis): string {
  const { count, source } = cpu.threads ?? { count: 0, source: '' };
  const { devices = [] } = cuda;
  return [
    `tramontane ${version}, Node ${node}, ${platform}\n`,
    verdict('cpu', cpu.works),
    cpu.problem && line('', cpu.problem),
    addon && line('', `addon ${addon}`),
    cpu.works && line('', `kernels ${String(cpu.implementation)}, ${count} threads (${source})`),
    ...memoryLines(memory),
    verdict('cuda', cuda.works),
    cuda.problem && line('', cuda.problem),
    cuda.plugin && line('', `plug-in ${cuda.plugin}`),
    cuda.driverVersion &&
      line('', `CUDA ${String(cuda.runtimeVersion)}, of the driver ${cuda.driverVersion}`),
    ...devices.map((device, index) => line('', `device ${index}: ${describe(device)}`)),
  ]
    .filter((text) => typeof text === 'string')
    .join('');
}

function verdict(name: string, works: boolean): string {
  return works ? line(name, 'works', 'green') : line(name, 'does not work', 'red');
}

function memoryLines(memory: Diagnosis['memory']): string[] {
  if (memory === undefined) return [];
  const { freeBytes, limitBytes, limitedBy, larger } = memory;
  const free = `memory ${sizeText(freeBytes)} free of ${sizeText(limitBytes)}, by ${limitedBy}`;
  const slow = larger.map(
    ({ source, bytes }) => `${source} (${sizeText(bytes)}) is larger: its tokens wait for the disk`,
  );
  return [line('', free), ...slow.map((text) => line('', text, 'yellow'))];
}

function line(name: string, text: string, style?: Style): string {
  return entry(name, text, 6, style);
}

function describe({ name, computeCapability, supported, memoryBytes }: Device): string {
  const memory = `${(memoryBytes / 1e9).toFixed(1)} GB`;
  const verdict = supported ? '' : ', which is too old: 7.5 or newer is needed';
  return `${name}, ${memory}, compute capability ${computeCapability}${verdict}`;
}
