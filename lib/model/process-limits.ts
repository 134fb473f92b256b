/** What this process may use of its machine, containers included. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { posix } from 'node:path';

type ReadFile = (path: string) => string | undefined;

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** A directory in which Linux accounts for a group of processes. */
interface ControlGroup {
  readonly version: 1 | 2;
  readonly directory: string;
}

/**
 * The control groups of this process that limit `controller`: its own and all around it, of both
 * versions. A limit of any of them holds.
 *
 * /proc/self/cgroup has a line for each hierarchy, `4:memory:/a/b` or for version 2 `0::/a/b`;
 * /proc/self/mountinfo says where it can be read: `32 31 0:29 /a /sys/fs/cgroup/memory rw - cgroup
 * cgroup rw,memory` shows /a and what is within, so that /a/b is /sys/fs/cgroup/memory/b.
 */
export function controlGroups(controller: string, readFile: ReadFile): ControlGroup[] {
  const memberships = (readFile('/proc/self/cgroup') ?? '').split('\n').map((line) => {
    const [, controllers = '', ...path] = line.split(':');
    return { controllers: controllers.split(','), path: path.join(':') };
  });
  return (readFile('/proc/self/mountinfo') ?? '').split('\n').flatMap((line) => {
    const [mount = '', fileSystem = ''] = line.split(' - ');
    const [, , , root = '', point = ''] = mount.split(' ').map(unescapeOctal);
    const [type, , options = ''] = fileSystem.split(' ');
    const version = type === 'cgroup2' ? 2 : 1;
    if (version === 1 && !(type === 'cgroup' && options.split(',').includes(controller))) return [];
    const wanted = version === 2 ? '' : controller;
    const path = memberships.find(({ controllers }) => controllers.includes(wanted))?.path;
    if (path === undefined) return [];
    const groups: ControlGroup[] = [{ version, directory: point }];
    // Of a group outside of what is mounted, `/../other`, only what is around both can be seen.
    const within = path.startsWith('/..') ? '..' : posix.relative(root, path);
    let directory = point;
    for (const name of within.startsWith('..') ? [] : within.split('/').filter(Boolean)) {
      directory = posix.join(directory, name);
      groups.push({ version, directory });
    }
    return groups.reverse();
  });
}

/** As mountinfo writes spaces: `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
}

/**
 * The lowest CPU quota of the control groups of this process, in CPUs. `max 100000` (version 2) and
 * -1 (version 1) mean there is none; `250000 100000` means 2.5 CPUs.
 */
export function cgroupCpuQuota(readFile: ReadFile): number | undefined {
  const quotas = controlGroups('cpu', readFile).map(({ version, directory }) => {
    const [quota, period] =
      version === 2
        ? (readFile(`${directory}/cpu.max`) ?? '').split(' ')
        : [readFile(`${directory}/cpu.cfs_quota_us`), readFile(`${directory}/cpu.cfs_period_us`)];
    return Number(quota) / Number(period);
  });
  const lowest = Math.min(...quotas.filter((cpus) => Number.isFinite(cpus) && cpus > 0));
  return Number.isFinite(lowest) ? lowest : undefined;
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

/** The files in which Linux accounts for the memory of a control group, as native reads them. */
export interface MemoryGroup {
  readonly limits: readonly string[];
  readonly usage: string;
  readonly stat: string;
}

/** The control groups that limit this process's memory. */
export function memoryGroups(readFile: ReadFile = read): MemoryGroup[] {
  return controlGroups('memory', readFile).map(({ version, directory }) => ({
    limits:
      version === 2
        ? [`${directory}/memory.max`, `${directory}/memory.high`]
        : [`${directory}/memory.limit_in_bytes`],
    usage: `${directory}/${version === 2 ? 'memory.current' : 'memory.usage_in_bytes'}`,
    stat: `${directory}/memory.stat`,
  }));
}
