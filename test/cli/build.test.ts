/** `tramontane build`: what it runs, and what it says where it cannot. A real one is in test:runtimes. */
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installWithoutScripts, pack, PROGRAM, type Packed } from '../package/packed';

const root = join(__dirname, '../..');
const posix = process.platform === 'win32' ? describe.skip : describe;

let packed: Packed;
let project: string;
let installed: string;
/** A folder with programs of these names, that do nothing. */
let tools: string;

beforeAll(() => {
  packed = pack();
}, 120_000);

beforeEach(() => {
  project = realpathSync(mkdtempSync(join(packed.folder, 'project-')));
  installed = installWithoutScripts(packed, project);
  tools = join(project, 'tools');
  mkdirSync(tools);
  for (const name of ['g++', 'make', 'python3']) symlinkSync('/bin/true', join(tools, name));
});

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

/** Runs `tramontane build` with a node-gyp that is this program. */
function build(nodeGyp: string): SpawnSyncReturns<string> {
  const file = join(project, 'node-gyp.cjs');
  writeFileSync(file, nodeGyp);
  const env = { PATH: tools, npm_config_node_gyp: file };
  const command = join(installed, 'dist/cli/main.js');
  return spawnSync(process.execPath, [command, 'build'], { cwd: project, env, encoding: 'utf8' });
}

const ADDON = JSON.stringify(join(root, 'build/Release/tramontane.node'));

posix('tramontane build', () => {
  test('has node-gyp compile where binding.gyp lies, and says where the addon is', () => {
    const { stdout, stderr, status } = build(`
      const { copyFileSync, mkdirSync, readFileSync } = require('node:fs');
      readFileSync('binding.gyp');
      if (process.argv.slice(2).join(' ') !== 'rebuild --jobs max') throw new Error('other options');
      mkdirSync('../build/Release', { recursive: true });
      copyFileSync(${ADDON}, '../build/Release/tramontane.node');`);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(stdout).toBe(`${join(installed, 'build/Release/tramontane.node')}\n`);
    const output = execFileSync(process.execPath, ['-e', PROGRAM], { cwd: project });
    expect(JSON.parse(String(output))).toEqual({ tokens: 5 });
  });

  test('a compiler that fails: exit code 1, and what it should be', () => {
    const { stderr, status } = build('process.exit(3)');
    expect(status).toBe(1);
    expect(stderr).toMatch(/^tramontane: compiling failed, .*gcc 12, clang 15.*\n$/);
  });

  test.each(['g++', 'make', 'python3'])(
    '%s is missing: it is named before anything runs',
    (name) => {
      rmSync(join(tools, name));
      const { stderr, status } = build(`console.error('ran')`);
      expect(status).toBe(1);
      expect(stderr).not.toContain('ran');
      expect(stderr).toMatch(/^tramontane: compiling needs what is not here: [^,]+ \(Debian/);
      expect(stderr).toContain(name);
    },
  );
});
