/** The package linked into a project, as `npm link` does: a link in node_modules to its folder. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { addPrebuilt, installWithoutScripts, pack, type Packed } from './packed';
import { provide } from './provide';

const deno = provide('deno@2.9.6', 'deno');

let packed: Packed;
let project: string;
beforeAll(() => {
  packed = pack();
  const elsewhere = mkdtempSync(join(packed.folder, 'package-'));
  // A folder of its own, outside of any node_modules, but for its dependencies.
  const linked = join(elsewhere, 'tramontane');
  renameSync(installWithoutScripts(packed, elsewhere), linked);
  addPrebuilt(linked);
  project = mkdtempSync(join(packed.folder, 'project-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(linked, join(project, 'node_modules/tramontane'));
  writeFileSync(
    join(project, 'package.json'),
    '{"private":true,"dependencies":{"tramontane":"*"}}',
  );
  writeFileSync(
    join(project, 'program.mjs'),
    `import { createRequire } from 'node:module';
    import { dirname, join } from 'node:path';
    import { Model } from 'tramontane';
    const manifest = createRequire(import.meta.url).resolve('tramontane/package.json');
    const model = await Model.load(join(dirname(manifest), 'models/breeze-Q4_0.gguf'));
    const options = { maxTokens: 5, temperature: 0, ignoreEos: true };
    console.log((await model.generate('Once', options).result()).tokenIds.length);
    await model.dispose();`,
  );
}, 120_000);

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

function run(command: string, ...args: string[]): string {
  const home = mkdtempSync(join(tmpdir(), 'tramontane-home-'));
  try {
    const path = `${deno ?? ''}${delimiter}${process.env['PATH'] ?? ''}`;
    const env = { ...process.env, HOME: home, DENO_NO_UPDATE_CHECK: '1', PATH: path };
    return execFileSync(command, args, { cwd: project, env, encoding: 'utf8' }).trim();
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

test('Node imports it by name', () => {
  expect(run(process.execPath, 'program.mjs')).toBe('5');
});

// Outside node_modules Deno takes a .js file for an ES module, unless package.json says otherwise.
(deno === undefined ? test.skip : test)('Deno imports it by name', () => {
  expect(run('deno', 'run', '-A', '--node-modules-dir=manual', 'program.mjs')).toBe('5');
});
