/** What this process may use of its machine, containers included. */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * The CPU quota of the process's container in CPUs, from the files of a cgroup file system.
 * `max 100000` (v2) and -1 (v1) mean there is none; `250000 100000` means 2.5 CPUs.
 */
export function cgroupCpuQuota(readFile: (path: string) => string | undefined): number | undefined {
  const v2 = readFile('/sys/fs/cgroup/cpu.max')?.split(' ');
  const [quota, period] = v2 ?? [
    readFile('/sys/fs/cgroup/cpu/cpu.cfs_quota_us'),
    readFile('/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
  ];
  const cpus = Number(quota) / Number(period);
  return Number.isFinite(cpus) && cpus > 0 ? cpus : undefined;
}

/** The default number of threads, and in words where it comes from. */
export function defaultThreads(): { count: number; source: string } {
  const affinity = availableParallelism();
  const quota = cgroupCpuQuota(read);
  if (quota !== undefined && Math.floor(quota) < affinity) {
    return { count: Math.max(1, Math.floor(quota)), source: `CPU quota of ${String(quota)}` };
  }
  return { count: affinity, source: 'CPUs the process may use' };
}

/** Bytes of memory the process may use. */
export function usableMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
