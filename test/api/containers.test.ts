/** Limits of containers and services: control groups and those around them, the lowest wins. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupCpuQuota, memoryGroups } from '../../lib/model/process-limits';

const root = join(__dirname, '../..');

/** A machine whose files say what a test wants. */
const files = (contents: Record<string, string>) => (path: string) => contents[path];

const version2 = {
  '/proc/self/cgroup': '0::/system.slice/app.service/worker',
  '/proc/self/mountinfo': '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate',
};
const version1 = {
  '/proc/self/cgroup': '9:name=systemd:/\n4:memory:/docker/a/b\n2:cpu,cpuacct:/docker/a\n0::/',
  '/proc/self/mountinfo':
    '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n' +
    '32 31 0:29 /docker/a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n' +
    '35 31 0:32 /docker/a /sys/fs/cgroup/my\\040memory ro shared:9 - cgroup cgroup rw,memory\n' +
    '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
};

test('version 2: of the CPU quotas of a group and all around it, the lowest counts', () => {
  const service = '/sys/fs/cgroup/system.slice/app.service';
  const of = (quotas: Record<string, string>) => cgroupCpuQuota(files({ ...version2, ...quotas }));
  expect(of({ [`${service}/worker/cpu.max`]: '250000 100000' })).toBe(2.5);
  expect(of({ [`${service}/cpu.max`]: '150000 100000' })).toBe(1.5);
  const both = { [`${service}/cpu.max`]: '150000 100000' };
  expect(of({ ...both, [`${service}/worker/cpu.max`]: '400000 100000' })).toBe(1.5);
  expect(of({ ...both, [`${service}/worker/cpu.max`]: '50000 100000' })).toBe(0.5);
  expect(of({ ...both, [`${service}/worker/cpu.max`]: 'max 100000' })).toBe(1.5);
  expect(of({ '/sys/fs/cgroup/other/cpu.max': '50000 100000' })).toBeUndefined();
  expect(of({ [`${service}/cpu.max`]: 'rubbish' })).toBeUndefined();
});

test('version 1: a mount shows a part of the hierarchy, as in a container', () => {
  const cpu = '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_';
  const of = (quota: string) =>
    cgroupCpuQuota(
      files({ ...version1, [`${cpu}quota_us`]: quota, [`${cpu}period_us`]: '100000' }),
    );
  expect(of('50000')).toBe(0.5);
  expect(of('-1')).toBeUndefined();
  const directories = memoryGroups(files(version1)).map(({ usage }) => usage);
  expect(directories).toEqual([
    '/sys/fs/cgroup/my memory/b/memory.usage_in_bytes',
    '/sys/fs/cgroup/my memory/memory.usage_in_bytes',
    '/sys/fs/cgroup/unified/memory.current',
  ]);
});

test('memory: a group and all around it, innermost first', () => {
  expect(memoryGroups(files(version2)).map(({ limits }) => limits[0])).toEqual([
    '/sys/fs/cgroup/system.slice/app.service/worker/memory.max',
    '/sys/fs/cgroup/system.slice/app.service/memory.max',
    '/sys/fs/cgroup/system.slice/memory.max',
    '/sys/fs/cgroup/memory.max',
  ]);
});

test('a process outside of what is mounted has the mount; no files, no limits', () => {
  const outside = files({ ...version2, '/proc/self/cgroup': '0::/../../other' });
  expect(memoryGroups(outside).map(({ usage }) => usage)).toEqual([
    '/sys/fs/cgroup/memory.current',
  ]);
  expect(memoryGroups(files({}))).toEqual([]);
  expect(cgroupCpuQuota(files({}))).toBeUndefined();
  expect(cgroupCpuQuota(files({ ...version2, '/proc/self/mountinfo': 'rubbish\n - ' }))).toBe(
    undefined,
  );
});

/** Real control groups: `outer` with the limits, `inner` without any, for a process to be in. */
class Groups {
  private constructor(private readonly pairs: readonly { outer: string; inner: string }[]) {}

  /** Undefined where none can be made: not Linux, not root, a container. */
  static make(): Groups | undefined {
    const name = `tramontane-${String(process.pid)}`;
    const old = existsSync('/sys/fs/cgroup/memory');
    const made: { outer: string; inner: string }[] = [];
    try {
      for (const controller of old ? ['memory', 'cpu', 'pids'] : ['']) {
        const outer = join('/sys/fs/cgroup', controller, name);
        const inner = join(outer, 'inner');
        mkdirSync(outer);
        if (!old) writeFileSync(join(outer, 'cgroup.subtree_control'), '+memory +cpu +pids');
        mkdirSync(inner);
        made.push({ outer, inner });
      }
      const groups = new Groups(made);
      groups.limit('memory.limit_in_bytes', 'memory.max', String(2 ** 40));
      return groups;
    } catch {
      return undefined;
    }
  }

  limit(version1: string, version2: string, value: string): void {
    const old = this.pairs.length > 1;
    const outer = this.outerOf(version1.split('.')[0] ?? '');
    writeFileSync(join(outer, old ? version1 : version2), value);
  }

  /** The outer group, where `controller` is kept. */
  outerOf(controller: string): string {
    const found = this.pairs.find(({ outer }) => outer.includes(`/${controller}/`));
    return (found ?? this.pairs[0])?.outer ?? '';
  }

  /** What a program prints as JSON in a process of the inner groups. */
  run(program: string): unknown {
    const join_ = this.pairs.map(({ inner }) => `echo $$ > ${inner}/cgroup.procs`).join('; ');
    const typescript = join(root, 'scripts/typescript.js');
    const child = spawnSync(
      'sh',
      ['-c', `${join_}; exec "${process.execPath}" -r "${typescript}" -e "$PROGRAM"`],
      { cwd: root, encoding: 'utf8', env: { ...process.env, PROGRAM: program } },
    );
    return JSON.parse(child.stdout || JSON.stringify(child.stderr));
  }

  remove(): void {
    for (const { outer, inner } of this.pairs) for (const path of [inner, outer]) rmdirSync(path);
  }
}

const groups = Groups.make();
const inGroups = groups ? describe : describe.skip;

inGroups('in a control group that is within another (needs root)', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-'));
  const path = join(directory, 'large-context.gguf');
  const program = (options: object): string => `
    const { Model } = require('./lib');
    Model.load(${JSON.stringify(path)}, ${JSON.stringify(options)}).then(
      async (model) => {
        const { contextSize, contextSource, kvCache, threads } = model.info;
        const { length } = await model.generate('Once', { maxTokens: 40 }).text();
        await model.dispose();
        console.log(JSON.stringify({ contextSize, contextSource, kvCache, threads, length }));
      },
      ({ code, message }) => console.log(JSON.stringify({ code, message })),
    );`;

  beforeAll(() => {
    // 768 bytes a token, up to 2^30 of them without a window.
    const bytes = readFileSync(join(root, 'models/breeze-Q4_0.gguf'));
    const key = 'llama.context_length';
    bytes.writeUInt32LE(2 ** 30, bytes.indexOf(key) + key.length + 4);
    writeFileSync(path, bytes);
    groups?.limit('memory.limit_in_bytes', 'memory.max', String(400 * 2 ** 20));
  });
  afterAll(() => {
    groups?.remove();
    rmSync(directory, { recursive: true });
  });

  test('the default pool and context are what the limit leaves, and info says why', () => {
    const info = groups?.run(program({ slidingWindow: false })) as Record<string, unknown>;
    const kvCache = info['kvCache'] as { tokens: number; source: string };
    expect(kvCache.tokens * 768).toBeGreaterThan(100 * 2 ** 20);
    expect(kvCache.tokens * 768).toBeLessThan(375 * 2 ** 20);
    expect(info['contextSize']).toBe(kvCache.tokens);
    for (const source of [kvCache.source, info['contextSource']]) {
      expect(source).toMatch(/^what fits: of 419\.4 MB that .*tramontane-\d+\/memory\S+ has/);
    }
    expect(info['length']).toBeGreaterThan(0);
  });

  test('an explicit pool or context that cannot fit is refused with the sum', () => {
    for (const options of [{ kvCacheTokens: 600_000 }, { contextSize: 600_000 }]) {
      const [name] = Object.keys(options);
      expect(groups?.run(program({ slidingWindow: false, ...options }))).toEqual({
        code: 'OUT_OF_MEMORY',
        message: expect.stringMatching(
          new RegExp(`^${name ?? ''}: 600000 needs 600000 tokens.*weights take 0.9 MB, scratch`),
        ) as string,
      });
    }
  });

  test('threads that cannot be started are an error that says so, whichever it is', () => {
    // As `docker --pids-limit` and systemd's TasksMax=; one more is allowed each time.
    const outcomes = groups?.run(`
      const { readFileSync, writeFileSync } = require('node:fs');
      const { Model } = require('./lib');
      const path = ${JSON.stringify(path)};
      const directory = ${JSON.stringify(groups.outerOf('pids'))};
      const load = async () => {
        try {
          const model = await Model.load(path, { threads: 3, slidingWindow: 64 });
          await model.generate('Once', { maxTokens: 2 }).text();
          await model.dispose();
          return 'loaded';
        } catch ({ code, message }) {
          return code + ' ' + message;
        }
      };
      (async () => {
        await load(); // So that Node has all threads of its own.
        const running = Number(readFileSync(directory + '/pids.current', 'utf8'));
        const outcomes = [];
        for (let more = 0; more <= 3; more++) {
          writeFileSync(directory + '/pids.max', String(running + more));
          outcomes.push(await load());
        }
        console.log(JSON.stringify(outcomes));
      })();`) as string[];
    expect(outcomes).toEqual([
      expect.stringMatching(/^OUT_OF_MEMORY.*cannot start 3 threads, only 1.*lower threads/),
      expect.stringMatching(/^OUT_OF_MEMORY.*cannot start 3 threads, only 2.*lower threads/),
      expect.stringMatching(/^OUT_OF_MEMORY.*engine's thread.*lower threads/),
      'loaded',
    ]);
  });

  test('a CPU quota of the outer group bounds the threads', () => {
    groups?.limit('cpu.cfs_quota_us', 'cpu.max', '50000');
    const { threads } = groups?.run(program({})) as { threads: object };
    expect(threads).toEqual({ count: 1, source: 'CPU quota of 0.5' });
  });
});
