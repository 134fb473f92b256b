/** Where the native addon is, and where it cannot be loaded, why and what to do. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TramontaneError } from '../errors';

interface FindAddon {
  (directory: string): unknown;
  path(directory: string): string;
}

// Bundled into an ES module, this file has no __dirname.
const root = typeof __dirname === 'undefined' ? '' : join(__dirname, '../..');

function findAddon(): FindAddon {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- both are CommonJS
  return require('node-gyp-build') as FindAddon;
}

/** The addon's file, where there is one. */
export function addonPath(): string | undefined {
  try {
    return findAddon().path(root);
  } catch {
    return undefined;
  }
}

/**
 * The addon: from `build/Release` where one was compiled, else from `prebuilds/<platform>-<arch>`,
 * of the libc at hand. It chooses its kernels itself, by the processor's features.
 * @throws TramontaneError NATIVE_UNAVAILABLE
 */
export function loadAddon(): unknown {
  try {
    return findAddon()(root);
  } catch (cause) {
    const message = `the native addon cannot be used: ${advice(cause as NodeJS.ErrnoException)}`;
    throw new TramontaneError('NATIVE_UNAVAILABLE', message, { cause });
  }
}

/** Why the addon could not be loaded, and what to do. */
function advice(error: NodeJS.ErrnoException): string {
  if (!isPackage(root)) {
    return (
      'tramontane was bundled, and an addon cannot be part of a bundle. Mark tramontane as ' +
      'external (esbuild --external:tramontane; Rollup, webpack, Vite: external or externals; ' +
      'Next.js: serverExternalPackages) and have it installed where the bundle runs'
    );
  }
  if (error.code === 'ERR_DLOPEN_DISABLED') {
    const restricted = (process.permission as typeof process.permission | undefined) !== undefined;
    return restricted
      ? "Node's permission model keeps it out: start node with --allow-addons and " +
          '"--allow-fs-read=*" too (or with the package and the model among the paths to read)'
      : 'node was started with --no-addons: start it without (see NODE_OPTIONS too)';
  }
  const how = `run: ${buildCommand()} (compiling needs a C++20 compiler, make and python3)`;
  const path = addonPath();
  if (path !== undefined) {
    const [reason = ''] = error.message.split('\n');
    return `${path} does not load here (${reason}); to compile one, ${how}`;
  }
  return `the package has none for ${process.platform}-${process.arch}; to compile one, ${how}`;
}

/** Whether a folder is this package: a bundle's has another package.json, or none. */
function isPackage(folder: string): boolean {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return (manifest as { name?: unknown }).name === 'tramontane';
  } catch {
    return false;
  }
}

/** `tramontane build`, as it is reached where this package lies. */
function buildCommand(): string {
  if (process.versions['pnp'] !== undefined) return 'yarn tramontane build';
  const modules = dirname(root);
  // Linked, or a clone.
  if (basename(modules) !== 'node_modules') return `node ${join(root, 'dist/cli/main.js')} build`;
  const isGlobal =
    existsSync(join(modules, '.package-lock.json')) &&
    !existsSync(join(modules, '../package.json'));
  return isGlobal ? 'tramontane build' : 'npx tramontane build';
}
