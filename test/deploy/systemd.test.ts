/** The systemd unit, by systemd itself. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWith, read, run } from './tools';

const folder = mkdtempSync(join(tmpdir(), 'tramontane-'));
const unit = join(folder, 'tramontane.service');
// node's place differs from machine to machine, and verify looks for it.
writeFileSync(unit, read('systemd/tramontane.service').replace('/usr/bin/node', process.execPath));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test('the unit has a place for each variable of the environment file, and no other', () => {
  const names = (text: string, expression: RegExp): string[] =>
    [...new Set([...text.matchAll(expression)].map((match) => match[1]!))].sort();
  expect(names(read('systemd/environment'), /^(\w+)=/gm)).toEqual(
    names(read('systemd/tramontane.service'), /\$\{(\w+)\}/g).filter(
      (name) => name !== 'CREDENTIALS_DIRECTORY',
    ),
  );
});

describeWith('systemd-analyze', 'systemd', () => {
  test('verify has nothing to say', () => {
    expect(run('systemd-analyze', ['verify', '--man=no', unit])).toBe('');
  });

  test('security finds little that is open', () => {
    const output = run('systemd-analyze', ['security', '--offline=true', '--threshold=20', unit]);
    expect(output).toContain('Overall exposure level');
  });
});
