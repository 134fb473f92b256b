/** Every script that a person runs says what it does when asked by --help, and does nothing. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const scripts = join(__dirname, '../../scripts');
const notRunByPeople = ['help.js', 'machine.ts', 'peer.ts', 'typescript.js'];
const names = readdirSync(scripts, { withFileTypes: true })
  .filter((entry) => entry.isFile() && /^[^.]+(\.js|\.ts)?$/.test(entry.name))
  .map(({ name }) => name)
  .filter((name) => !notRunByPeople.includes(name));

test.each(names)('%s', (name) => {
  const path = join(scripts, name);
  const [command, args] = name.includes('.')
    ? [process.execPath, ['-r', join(scripts, 'typescript.js'), path]]
    : ['sh', [path]];
  const { status, stdout, stderr } = spawnSync(command, [...args, '--help'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  // By its name, or by that of package.json.
  expect(stdout).toMatch(new RegExp(`${name.replace(/\.ts$/, '')}|npm run [a-z]+:`));
  expect(stdout.split('\n').length).toBeGreaterThan(3);
});
