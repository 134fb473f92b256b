/** Where the native addon is, and where it cannot be loaded, why and what to do. */
import { existsSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
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
 * The addon: from `build/Release` where the package was compiled, else from
 * `prebuilds/<platform>-<arch>`.
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
  const needs = '(compiling needs a C++20 compiler, make and python3)';
  const path = addonPath();
  if (path !== undefined) {
    const [reason = ''] = error.message.split('\n');
    return (
      `${path} does not load here (${reason}); to compile one, ` +
      `run: node ${join(root, 'scripts/install.js')} ${needs}`
    );
  }
  return (
    `the package has none for ${process.platform}-${process.arch}, and its install script, which ` +
    `compiles it, did not run; run: ${allowScripts()} ${needs}`
  );
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

/** The command that lets the package's install script run, by what the package manager left. */
function allowScripts(): string {
  const folders = nodeModules(root);
  const left = (name: string): boolean => folders.some((folder) => existsSync(join(folder, name)));
  if (process.versions['pnp'] !== undefined || left('.yarn-state.yml')) {
    return 'npm pkg set --json dependenciesMeta.tramontane.built=true && yarn rebuild tramontane';
  }
  if (left('.yarn-integrity')) return 'yarn install --force';
  if (left('.modules.yaml')) {
    return 'pnpm add --allow-build=tramontane tramontane && pnpm rebuild tramontane';
  }
  if (left('.deno')) return 'deno approve-scripts npm:tramontane';
  if (left('../bun.lock') || process.versions['bun'] !== undefined)
    return 'bun pm trust tramontane';
  if (left('.package-lock.json')) {
    if (!left('../package.json')) return 'npm install -g --allow-scripts=tramontane tramontane';
    return 'npm approve-scripts tramontane && npm rebuild tramontane';
  }
  return `node ${join(root, 'scripts/install.js')}`;
}

/** All folders `node_modules` that a folder lies in. */
function nodeModules(folder: string): string[] {
  const parts = folder.split(sep);
  return parts.flatMap((part, index) =>
    part === 'node_modules' ? [parts.slice(0, index + 1).join(sep)] : [],
  );
}
