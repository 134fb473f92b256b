/** Programs that judge the files in deploy/, where the machine has them. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseAllDocuments } from 'yaml';

export const root = join(__dirname, '../..');
export const deploy = join(root, 'deploy');

/** A `describe` whose tests need a program; without it one skipped test stands for all of them. */
export function describeWith(program: string, packages: string, body: () => void): void {
  const name = `by ${program}`;
  if (spawnSync(program, [], { stdio: 'ignore' }).error === undefined) {
    describe(name, body);
    return;
  }
  process.stderr.write(`skipped: "${name}": it is not installed (Debian: ${packages})\n`);
  describe.skip(name, () => {
    test(`needs ${packages}`, () => undefined);
  });
}

/** Runs a program that must succeed; its output is the error's message where it does not. */
export function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout + stderr;
}

/** The files below a folder of deploy/, by their paths from there. */
export function files(folder: string, ending: string): readonly string[] {
  const walk = (path: string): string[] =>
    readdirSync(path).flatMap((name) => {
      const inside = join(path, name);
      return statSync(inside).isDirectory() ? walk(inside) : [inside];
    });
  return walk(join(deploy, folder))
    .filter((path) => path.endsWith(ending))
    .map((path) => relative(deploy, path))
    .sort();
}

export function read(path: string): string {
  return readFileSync(join(deploy, path), 'utf8');
}

/** The documents of a YAML file; keys twice, or anything odd, is an error. */
export function documents(text: string): readonly unknown[] {
  return parseAllDocuments(text, { strict: true, uniqueKeys: true }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem) throw problem;
    return document.toJS() as unknown;
  });
}
