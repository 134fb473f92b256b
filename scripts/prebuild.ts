/**
 * Makes the addons that the package brings, one for each system, in prebuilds/: there is nothing to
 * compile at an install. On one Linux machine, with zig's compiler and headers of all systems, which
 * come from the npm registry (scripts/prebuild/package-lock.json has their hashes).
 *   npm run prebuild                          all: about an hour on two cores
 *   npm run prebuild -- --only TARGET...      some: linux-x64-glibc linux-x64-musl win32-x64
 *                                             darwin-x64, and the same with arm64
 *   npm run prebuild -- --host                this machine's alone, by its own compiler
 *   npm run prebuild -- --check               makes none; fails unless all are there, and as they must
 *   npm run prebuild -- --list                the same, and does not fail
 * Ends with a table: what each needs of its system, and whether it was run here. Needs objdump
 * (Debian: binutils), and for the runs qemu-user, g++-aarch64-linux-gnu and wine64.
 */
import './help';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { faults } from './prebuild/check';
import { compile, installToolchain } from './prebuild/compile';
import { readRecord, sourcesHash, writeRecord } from './prebuild/record';
import { hostTarget, prebuiltFile, TARGETS, type Target } from './prebuild/targets';
import { tryAddon } from './prebuild/try';

const root = join(__dirname, '..');

interface Row {
  readonly target: Target;
  readonly bytes?: number;
  readonly faults: readonly string[];
  readonly run: string;
}

/** What there is of a target, and what is wrong with it. */
function look(target: Target, run: string): Row {
  const file = join(root, prebuiltFile(target));
  if (!existsSync(file)) return { target, faults: ['is missing'], run };
  const { [target.name]: made } = readRecord();
  const found: string[] = [];
  if (made?.sources !== sourcesHash()) found.push('was made of other sources');
  if (made?.by === 'host') found.push('was made for this machine alone');
  else found.push(...faults(target, file));
  return { target, bytes: statSync(file).size, faults: found, run };
}

/** On stderr: `npm pack` prints what others read on stdout. */
function print(rows: readonly Row[]): void {
  console.error(`\n${'addon'.padEnd(19)}${'bytes'.padStart(9)}  run here, and what is wrong`);
  for (const { target, bytes, faults, run } of rows) {
    const wrong = faults.map((fault) => ` WRONG: ${fault}`).join(';');
    console.error(`${target.name.padEnd(19)}${String(bytes ?? '-').padStart(9)}  ${run}${wrong}`);
  }
}

async function make(target: Target): Promise<Row> {
  const begin = Date.now();
  await compile(target);
  writeRecord(target.name, 'zig');
  console.log(`${target.name}: compiled in ${Math.round((Date.now() - begin) / 1000)} s`);
  try {
    const { ran, how } = tryAddon(target);
    return look(target, ran ? `ran: ${how}` : `not run: ${how}`);
  } catch (error) {
    const row = look(target, 'ran');
    return { ...row, faults: [...row.faults, `does not run: ${(error as Error).message}`] };
  }
}

/** A copy of what `npm run build:native` makes. */
function makeHost(): void {
  const target = hostTarget();
  if (target === undefined) {
    throw new Error(`no addon is made for ${process.platform}-${process.arch}`);
  }
  execFileSync('npm', ['run', '--silent', 'build:native'], { cwd: root, stdio: 'inherit' });
  const file = join(root, prebuiltFile(target));
  mkdirSync(dirname(file), { recursive: true });
  copyFileSync(join(root, 'build/Release/tramontane.node'), file);
  writeRecord(target.name, 'host');
  console.log(`${prebuiltFile(target)}: for this machine and others with as new a system`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      only: { type: 'boolean', default: false },
      host: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  if (values.host) {
    makeHost();
    return;
  }
  if (values.check || values.list) {
    const rows = TARGETS.map((target) => look(target, ''));
    const wrong = rows.filter(({ faults }) => faults.length > 0);
    if (wrong.length === 0) return;
    print(rows);
    console.error('\nThe package is not fit for others so: npm run prebuild');
    if (values.check) process.exitCode = 1;
    return;
  }
  const wanted = values.only ? positionals : TARGETS.map(({ name }) => name);
  const unknown = wanted.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown !== undefined || wanted.length === 0 || (positionals.length > 0 && !values.only)) {
    throw new Error(`not a target: ${unknown ?? positionals[0] ?? ''}; see --help`);
  }
  installToolchain();
  execFileSync('npm', ['run', '--silent', 'build:ts'], { cwd: root, stdio: 'inherit' });
  const rows: Row[] = [];
  for (const name of wanted) {
    rows.push(await make(TARGETS.find((target) => target.name === name)!));
  }
  print(rows);
  if (rows.some(({ faults }) => faults.length > 0)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
