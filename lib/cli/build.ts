/** `tramontane build`: compiles the addon where the package brings none for the system. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Command } from 'commander';
import { TramontaneError } from '../index';
import { addonPath } from '../model/addon';

const root = join(__dirname, '../..');

/** Of node-gyp, that npx fetches where no package manager says where its own is. */
const NODE_GYP = 'node-gyp@12';

export function buildCommand(): Command {
  return new Command('build')
    .description('Compiles the addon where the package brings none for a system.')
    .addHelpText(
      'after',
      `
Takes a minute or some. Needs a C++20 compiler (gcc 12, clang 15, Visual Studio
2022), make and python3, and Node's headers, which node-gyp fetches.

Examples:
  $ npx tramontane build
  $ CXX=clang++ npx tramontane build`,
    )
    .action(() => {
      const missing = missingTools();
      if (missing.length > 0) {
        throw unavailable(
          `compiling needs what is not here: ${missing.join(', ')} ` +
            '(Debian, Ubuntu: apt install g++ make python3; Alpine: apk add g++ make python3; ' +
            'macOS: xcode-select --install)',
        );
      }
      compile();
      process.stdout.write(`${addonPath() ?? ''}\n`);
    });
}

function compile(): void {
  const rebuild = ['rebuild', '--jobs', 'max'];
  const named = process.env['npm_config_node_gyp']; // By npm, npx and pnpm.
  const [command, args] =
    named !== undefined && existsSync(named)
      ? [process.execPath, [named, ...rebuild]]
      : ['npx', ['--yes', NODE_GYP, ...rebuild]];
  // npx is a script on Windows, which only a shell starts.
  const shell = command === 'npx' && process.platform === 'win32';
  const { status, error } = spawnSync(command, args, {
    cwd: join(root, 'cpp'), // Where binding.gyp lies.
    stdio: 'inherit',
    shell,
  });
  if (error !== undefined) throw unavailable(`${command} does not start: ${error.message}`);
  if (status !== 0) {
    throw unavailable(
      'compiling failed, as said above; it needs a C++20 compiler (gcc 12, clang 15, Visual Studio 2022)',
    );
  }
}

/** What node-gyp would stop without, after many lines. On Windows it finds Visual Studio itself. */
function missingTools(): string[] {
  if (process.platform === 'win32') return [];
  const { CXX = 'c++ or g++', MAKE = 'make', PYTHON = 'python3' } = process.env;
  return [CXX, MAKE, PYTHON].filter(
    (names) => !names.split(' or ').some((name) => isProgram(name.trim().split(/\s+/)[0]!)),
  );
}

function isProgram(name: string): boolean {
  const folders = name.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, name)));
}

function unavailable(message: string): TramontaneError {
  return new TramontaneError('NATIVE_UNAVAILABLE', message);
}
