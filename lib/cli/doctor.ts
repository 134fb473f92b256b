/** `tramontane doctor`: which backends work on this machine, and what to do about the others. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { addonPath } from '../model/addon';
import { findCudaPlugin } from '../model/cuda-plugin';
import { defaultThreads } from '../model/process-limits';
import { entry } from './entries';
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
  try {
    const { cpu, cuda } = await native().backends(plugin.path);
    const { driverVersion, runtimeVersion, ...rest } = cuda ?? {};
    const addon = addonPath();
    return {
      ...facts,
      ...(addon !== undefined && { addon }),
      cpu: { works: cpu.problem === undefined, ...cpu, threads: defaultThreads() },
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

/** 13000 is 13.0; 0 is none. */
function versionText(version: number): string {
  if (version === 0) return 'none';
  return `${String(Math.floor(version / 1000))}.${String(Math.floor((version % 1000) / 10))}`;
}

/** Two blocks of lines, one a backend, below a line about the package. */
function report({ version, node, platform, addon, cpu, cuda }: Diagnosis): string {
  const { count, source } = cpu.threads ?? { count: 0, source: '' };
  const { devices = [] } = cuda;
  return [
    `tramontane ${version}, Node ${node}, ${platform}\n`,
    line('cpu', cpu.works ? 'works' : 'does not work'),
    cpu.problem && line('', cpu.problem),
    addon && line('', `addon ${addon}`),
    cpu.works && line('', `kernels ${String(cpu.implementation)}, ${count} threads (${source})`),
    line('cuda', cuda.works ? 'works' : 'does not work'),
    cuda.problem && line('', cuda.problem),
    cuda.plugin && line('', `plug-in ${cuda.plugin}`),
    cuda.driverVersion &&
      line('', `CUDA ${String(cuda.runtimeVersion)}, of the driver ${cuda.driverVersion}`),
    ...devices.map((device, index) => line('', `device ${index}: ${describe(device)}`)),
  ]
    .filter((text) => typeof text === 'string')
    .join('');
}

function line(name: string, text: string): string {
  return entry(name, text, 6);
}

function describe({ name, computeCapability, supported, memoryBytes }: Device): string {
  const memory = `${(memoryBytes / 1e9).toFixed(1)} GB`;
  const verdict = supported ? '' : ', which is too old: 7.5 or newer is needed';
  return `${name}, ${memory}, compute capability ${computeCapability}${verdict}`;
}
