/**
 * Where functions run, as on AWS Lambda: the package is in a folder that cannot be written to, by a
 * user who owns nothing, without HOME; /tmp alone takes files.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addPrebuilt, installWithoutScripts, pack, PROGRAM, type Packed } from './packed';

const root = join(__dirname, '../..');
const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;

let packed: Packed;
let project: string;

/** Folders keep the right to be looked into. */
function setWritable(folder: string, isWritable: boolean): void {
  if (isWritable) chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) setWritable(path, isWritable);
    else if (entry.isFile()) chmodSync(path, isWritable ? 0o644 : 0o444);
  }
  if (!isWritable) chmodSync(folder, 0o555);
}

beforeAll(() => {
  packed = pack();
  chmodSync(packed.folder, 0o755);
  project = join(packed.folder, 'task');
  addPrebuilt(installWithoutScripts(packed, project));
  // Another user may not look into the repository, where the dependencies are.
  const modules = join(project, 'node_modules');
  for (const name of readdirSync(modules)) {
    if (name === 'tramontane') continue;
    rmSync(join(modules, name), { recursive: true });
    cpSync(join(root, 'node_modules', name), join(modules, name), {
      recursive: true,
      dereference: true,
    });
  }
  writeFileSync(join(project, 'program.cjs'), PROGRAM);
  symlinkSync('tramontane/dist/cli/main.js', join(modules, 'cli.js'));
  setWritable(project, false);
}, 180_000);

afterAll(() => {
  setWritable(project, true);
  rmSync(packed.folder, { recursive: true });
});

function run(...args: readonly string[]) {
  const command = [process.execPath, ...args];
  const other = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const [program = '', ...rest] = isRoot ? [...other, ...command] : command;
  const env = { PATH: process.env['PATH'], TMPDIR: '/tmp' };
  return spawnSync(program, rest, { cwd: project, env, encoding: 'utf8' });
}

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('nothing can be written there', () => {
  const { stderr } = run('-e', "require('fs').writeFileSync('node_modules/tramontane/x', '')");
  expect(stderr).toContain('EACCES');
});

onLinux('a program loads and generates', () => {
  expect(JSON.parse(run('program.cjs').stdout)).toEqual({ tokens: 5 });
});

onLinux.each([
  [['generate', '-p', 'Once', '-n', '8', '--temperature', '0'], /upon a time/],
  [['doctor'], /^cpu +works$/m],
  [['list'], /no models are here/],
  [['where'], /\/hub\n/],
])('tramontane %j', (args, printed) => {
  const { status, stdout, stderr } = run('node_modules/cli.js', ...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(printed);
});
