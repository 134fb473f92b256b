/**
 * Compiles the CUDA kernels with nvcc and prints, as a Markdown table, what each needs: registers,
 * shared memory, and how full an SM can be. Exits with 1 when nvcc warns or a kernel spills.
 *
 *   npm run script scripts/cuda-registers.ts [-- ARCHITECTURE...]     (default: 75 80 90)
 */
import './help';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What an SM has, from the CUDA programming guide: threads, blocks, bytes of shared memory. */
const processors: Record<string, { threads: number; blocks: number; shared: number }> = {
  '75': { threads: 1024, blocks: 16, shared: 64 << 10 },
  '80': { threads: 2048, blocks: 32, shared: 164 << 10 },
  '86': { threads: 1536, blocks: 16, shared: 100 << 10 },
  '89': { threads: 1536, blocks: 24, shared: 100 << 10 },
  '90': { threads: 2048, blocks: 32, shared: 228 << 10 },
  '100': { threads: 2048, blocks: 32, shared: 228 << 10 },
  '120': { threads: 1536, blocks: 24, shared: 100 << 10 },
};
const registersOfProcessor = 65536;

interface Kernel {
  readonly name: string;
  readonly registers: number;
  readonly shared: number;
  readonly spilled: number;
}

const cuda = join(__dirname, '..', 'cuda');
const scratch = mkdtempSync(join(tmpdir(), 'cuda-registers-'));

/** The kernels of a source, as ptxas saw them; nvcc's warnings. */
function compile(source: string, architecture: string): { kernels: Kernel[]; warnings: string[] } {
  const { status, stderr, stdout } = spawnSync(
    process.env['CUDACXX'] ?? 'nvcc',
    [
      ...['-std=c++20', '-O3', `-I${cuda}`, `-I${join(cuda, '..', 'cpp')}`, '-Xptxas=-v'],
      `--generate-code=arch=compute_${architecture},code=sm_${architecture}`,
      ...['-c', join(cuda, 'kernels', source), '-o', join(scratch, 'kernels.o')],
    ],
    { encoding: 'utf8', maxBuffer: 1 << 26 },
  );
  const output = stderr + stdout;
  if (status !== 0)
    throw new Error(`${source} does not compile for sm_${architecture}:\n${output}`);
  const entry =
    /entry function '(\w+)'[^]*?(\d+) bytes spill stores, (\d+) bytes spill loads[^]*?Used (\d+) registers(?:.*?(\d+) bytes smem)?/g;
  const kernels = [...output.matchAll(entry)].map(([, name = '', stores, loads, used, shared]) => ({
    name,
    registers: Number(used),
    shared: Number(shared ?? 0),
    spilled: Number(stores) + Number(loads),
  }));
  return { kernels, warnings: output.split('\n').filter((line) => line.includes('warning')) };
}

/** `dot_kernel<Q4_0, 1, false>` of a mangled name. */
function readable(names: readonly string[]): string[] {
  const { stdout } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' });
  return stdout
    .split('\n')
    .map((name) =>
      name
        .replace(/\(anonymous namespace\)::|tramontane::(cuda::|quant::)?|^void /g, '')
        .replace(/\(.*/, ''),
    );
}

/** Threads in a block, as the kernels have them. */
const threadsOf = (name: string): number => (name.startsWith('sample') ? 512 : 128);

/** The part of an SM's threads that can be resident. */
function occupancy(kernel: Kernel, threads: number, architecture: string): number {
  const processor = processors[architecture];
  if (!processor) throw new Error(`no figures for sm_${architecture}`);
  const perWarp = Math.ceil((kernel.registers * 32) / 256) * 256;
  const blocks = Math.min(
    Math.floor(registersOfProcessor / (perWarp * (threads / 32))),
    Math.floor(processor.shared / (kernel.shared + 1024)),
    Math.floor(processor.threads / threads),
    processor.blocks,
  );
  return (blocks * threads) / processor.threads;
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['75', '80', '90'];
let failures = 0;
console.log('| sm | kernel | registers | shared bytes | occupancy |\n|---|---|---|---|---|');
for (const architecture of wanted) {
  for (const source of readdirSync(join(cuda, 'kernels')).filter((file) => file.endsWith('.cu'))) {
    const { kernels, warnings } = compile(source, architecture);
    const names = readable(kernels.map(({ name }) => name));
    kernels.forEach((kernel, i) => {
      const name = names[i] ?? kernel.name;
      const part = Math.round(100 * occupancy(kernel, threadsOf(name), architecture));
      const { registers, shared } = kernel;
      const cells = [architecture, `\`${name}\``, registers, shared, `${String(part)}%`];
      console.log(`| ${cells.join(' | ')} |`);
      if (kernel.spilled === 0) return;
      failures++;
      console.error(`${name} spills ${String(kernel.spilled)} bytes on sm_${architecture}`);
    });
    failures += warnings.length;
    warnings.forEach((warning) => {
      console.error(warning);
    });
  }
}
rmSync(scratch, { recursive: true });
process.exitCode = failures > 0 ? 1 : 0;
