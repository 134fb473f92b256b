/** Every script that a person runs says what it does when asked by --help, and does nothing. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const scripts = join(__dirname, '../../scripts');
const notRunByPeople = ['help.js', 'typescript.js'];
const names = readdirSync(scripts).filter(
  (name) => /^[^.]+(\.js|\.ts)?$/.test(name) && !notRunByPeople.includes(name),
);

test.each(names.filter((name) => !['load-balancer', 'prebuild', 'synthesize'].includes(name)))(
  '%s',
  (name) => {
    const path = join(scripts, name);
    const [command, args] = name.includes('.')
      ? [process.execPath, ['-r', join(scripts, 'typescript.js'), path]]
      : ['sh', [path]];
    const { status, stdout, stderr } = spawnSync(command, [...args, '--help'], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(name.replace(/\.ts$/, ''));
    expect(stdout.split('\n').length).toBeGreaterThan(3);
  },
);
