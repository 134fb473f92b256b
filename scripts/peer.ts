/** node-llama-cpp, which ours is measured beside. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const PEER = 'node-llama-cpp@3.22.1';

/** A temporary directory where programs find it; installed from the npm registry, once. */
export function installPeer(): string {
  const directory = join(tmpdir(), 'tramontane-bench-peers');
  mkdirSync(directory, { recursive: true });
  if (!existsSync(join(directory, 'node_modules/node-llama-cpp'))) {
    console.error(`installing ${PEER} into ${directory}`);
    writeFileSync(join(directory, 'package.json'), '{ "private": true }');
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', PEER], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return directory;
}
