/**
 * What runs when the package is installed: compiles the addon, on all cores, unless one that works
 * is there already (a prebuilt one, or an earlier build).
 *
 * npm and pnpm up to 11 say in npm_config_node_gyp where their node-gyp is. Elsewhere npx fetches
 * one: pnpm 12 and Deno bring none, and Yarn and Bun the newest, which may want a newer Node.
 */
'use strict';
const { spawnSync } = require('node:child_process');
const { join } = require('node:path');

const root = join(__dirname, '..');

function works() {
  try {
    require('node-gyp-build')(root);
    return true;
  } catch {
    return false;
  }
}

function compile() {
  const rebuild = ['rebuild', '--jobs', 'max'];
  const named = process.env.npm_config_node_gyp;
  const [command, args] = named
    ? [process.execPath, [named, ...rebuild]]
    : ['npx', ['--yes', 'node-gyp@12', ...rebuild]];
  // npx is a script on Windows, which only a shell starts.
  const shell = command === 'npx' && process.platform === 'win32';
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell });
  if (status === 0) return;
  if (error) console.error(`${command}: ${error.message}`);
  console.error(
    'tramontane: the addon could not be compiled; this needs a C++20 compiler, make and python3',
  );
  process.exitCode = 1;
}

if (!works()) compile();
