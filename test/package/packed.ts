/** The package as it is published, in a folder of its own. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const root = join(__dirname, '../..');

export interface Packed {
  /** A temporary folder; whoever packed removes it. */
  readonly folder: string;
  /** The tarball in it. */
  readonly tarball: string;
  /** The paths in the tarball. */
  readonly files: readonly string[];
}

/** Packs what was built, without building it again. */
export function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-pack-'));
  const report = npm('pack', '--json', '--ignore-scripts', '--pack-destination', folder);
  const [{ filename, files }] = JSON.parse(report) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  return { folder, tarball: join(folder, filename), files: files.map(({ path }) => path) };
}

/**
 * Unpacks a tarball into the `node_modules` of a project, as an install does that runs no scripts,
 * with the dependencies beside it.
 * @returns the package's folder
 */
export function installWithoutScripts({ tarball }: Packed, project: string): string {
  const modules = join(project, 'node_modules');
  const installed = join(modules, 'tramontane');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['xzf', tarball, '--strip-components=1'], { cwd: installed });
  rmSync(join(installed, 'prebuilds'), { recursive: true, force: true }); // Tests bring their own.
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true }); // `@scope/name`
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  return installed;
}

/** Puts the addon of this repository where a prebuilt one lies. */
export function addPrebuilt(installed: string): void {
  const prebuilds = join(installed, 'prebuilds', `${process.platform}-${process.arch}`);
  mkdirSync(prebuilds, { recursive: true });
  cpSync(join(root, 'build/Release/tramontane.node'), join(prebuilds, 'tramontane.node'));
}

/** Runs npm in the repository and gives what it printed. */
export function npm(...args: string[]): string {
  const shell = process.platform === 'win32';
  return execFileSync(shell ? 'npm.cmd' : 'npm', args, {
    cwd: root,
    encoding: 'utf8',
    shell,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

/**
 * A program that loads the embedded model and generates five tokens. Prints as JSON how many, or
 * the error.
 */
export const PROGRAM = `
  const { Model, TramontaneError } = require('tramontane');
  Model.load(require('node:path').join(require.resolve('tramontane'), '../../models/breeze-Q4_0.gguf'))
    .then(async (model) => {
      const options = { maxTokens: 5, temperature: 0, ignoreEos: true };
      const { tokenIds } = await model.generate('Once', options).result();
      await model.dispose();
      console.log(JSON.stringify({ tokens: tokenIds.length }));
    })
    .catch((error) => {
      const { code, message } = error;
      console.log(JSON.stringify({ typed: error instanceof TramontaneError, code, message }));
    });`;

/** What PROGRAM prints. */
export interface ProgramOutput {
  readonly tokens?: number;
  readonly typed?: boolean;
  readonly code?: string;
  readonly message?: string;
}

/** The command that an error's message says to run. */
export function commandOf({ message = '' }: ProgramOutput): string {
  const [, command] = /; to compile one, run: (.*) \(compiling needs/.exec(message) ?? [];
  if (command === undefined) throw new Error(`no command in: ${message}`);
  return command;
}
