/**
 * Package managers that do not run the install script of a package: the error says by which command
 * each does, and that command makes it work. Run by `npm run test:package-managers`, since each
 * compiles the addon anew.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { commandOf, npm, pack, PROGRAM, type Packed, type ProgramOutput } from './packed';
import { provide } from './provide';
import { startRegistry, type Registry } from './registry';

const root = join(__dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
};

let packed: Packed;
let registry: Registry;

beforeAll(async () => {
  packed = pack();
  const upstream = npm('config', 'get', 'registry').trim();
  registry = await startRegistry(manifest, packed.tarball, upstream);
}, 120_000);

afterAll(() => {
  registry.close();
  rmSync(packed.folder, { recursive: true, force: true });
});

/** A project of its own with a home of its own: no cache knows the package yet. */
class Project {
  readonly folder = mkdtempSync(join(packed.folder, 'project-'));
  private readonly environment: NodeJS.ProcessEnv;

  constructor(commands: string) {
    const home = mkdtempSync(join(packed.folder, 'home-'));
    const { PATH = '', CCACHE_DIR = join(homedir(), '.cache/ccache') } = process.env;
    const inherited = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name));
    const headers = npm('config', 'get', 'nodedir').trim();
    this.environment = {
      ...Object.fromEntries(inherited),
      ...(headers !== 'undefined' && { npm_config_nodedir: headers }),
      ...{ HOME: home, CCACHE_DIR, XDG_CACHE_HOME: join(home, '.cache') },
      PATH: `${commands}${delimiter}${PATH}`,
      npm_config_registry: registry.url,
      npm_config_prefix: join(home, 'prefix'), // Of `npm install -g`.
      BUN_CONFIG_REGISTRY: registry.url,
      YARN_NPM_REGISTRY_SERVER: registry.url,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
      YARN_ENABLE_TELEMETRY: '0',
    };
    this.write('.npmrc', `registry=${registry.url}\n`); // What pnpm and Deno read.
    this.write('package.json', '{"private":true}');
    this.write('program.cjs', PROGRAM);
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  /** Runs a command by the shell, as somebody would who was told to. */
  async run(command: string): Promise<string> {
    const options = { cwd: this.folder, env: this.environment, maxBuffer: 1 << 26 };
    const { stdout } = await promisify(execFile)('sh', ['-c', command], options);
    return stdout;
  }

  async program(command: string): Promise<ProgramOutput> {
    const lines = (await this.run(command)).trim().split('\n');
    return JSON.parse(lines.at(-1)!) as ProgramOutput;
  }
}

interface Manager {
  readonly name: string;
  readonly specification: string;
  readonly command: string;
  /** Installs, its install script left out by default or by this option. */
  readonly add: string;
  readonly run?: string;
  readonly prepare?: (project: Project) => void;
}

const MANAGERS: readonly Manager[] = [
  {
    name: 'npm 11 with --ignore-scripts',
    specification: 'npm@11.19.1',
    command: 'npm',
    add: 'npm install --ignore-scripts tramontane',
  },
  { name: 'npm 12', specification: 'npm@12.2.1', command: 'npm', add: 'npm install tramontane' },
  {
    name: 'npm 12 -g',
    specification: 'npm@12.2.1',
    command: 'npm',
    add: 'npm install -g tramontane',
    run: 'NODE_PATH="$npm_config_prefix/lib/node_modules" node program.cjs',
  },
  { name: 'pnpm 10', specification: 'pnpm@10.34.9', command: 'pnpm', add: 'pnpm add tramontane' },
  {
    name: 'pnpm 12',
    specification: 'pnpm@12.21.0',
    command: 'pnpm',
    add: 'pnpm add tramontane || true', // It installs, and exits with 1 since it left the script out.
  },
  {
    name: 'Yarn 1 with --ignore-scripts',
    specification: 'yarn@1.22.22',
    command: 'yarn',
    add: 'yarn add --ignore-scripts tramontane',
  },
  {
    name: 'Yarn 4 with node_modules',
    specification: '@yarnpkg/cli-dist@4.18.1',
    command: 'yarn',
    add: 'yarn add tramontane',
    prepare: (project) => {
      project.write('yarn.lock', '');
      project.write('.yarnrc.yml', 'nodeLinker: node-modules\n');
    },
  },
  {
    name: 'Yarn 4 without node_modules',
    specification: '@yarnpkg/cli-dist@4.18.1',
    command: 'yarn',
    add: 'yarn add tramontane',
    run: 'yarn node program.cjs',
    prepare: (project) => {
      project.write('yarn.lock', '');
    },
  },
  {
    name: 'Bun',
    specification: 'bun@1.4.5',
    command: 'bun',
    add: 'bun add tramontane',
    run: 'bun program.cjs',
  },
  {
    name: 'Deno',
    specification: 'deno@2.9.6',
    command: 'deno',
    add: 'deno install',
    run: 'deno run -A program.cjs',
    prepare: (project) => {
      const dependencies = { tramontane: manifest.version };
      project.write('package.json', JSON.stringify({ private: true, dependencies }));
    },
  },
];

for (const { name, specification, command, add, run = 'node program.cjs', prepare } of MANAGERS) {
  const commands = provide(specification, command);
  (commands === undefined ? test.skip : test)(
    `${name}: does not run the script, and does as the error says`,
    async () => {
      const project = new Project(commands!);
      prepare?.(project);
      await project.run(add);
      const failure = await project.program(run);
      expect(failure).toMatchObject({ typed: true, code: 'NATIVE_UNAVAILABLE' });
      await project.run(commandOf(failure));
      expect(await project.program(run)).toEqual({ tokens: 5 });
    },
    600_000,
  );
}
