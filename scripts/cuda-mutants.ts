/**
 * Removes each barrier, each wait and each bounds check of the CUDA kernels, one at a time, and sees
 * that a test on the emulator fails. Prints a table; exits with 1 when one survives.
 *
 *   npm run script scripts/cuda-mutants.ts [-- PART...]
 *
 * Of the mutants whose place (`tiles.h:180`) has one of the parts in it. Each is first run without a
 * sanitizer, where schedules alone must show it, then with ThreadSanitizer, and with
 * AddressSanitizer. Builds in build-mutants-*, in the folder TRAMONTANE_MUTANTS if set. A minute or
 * two for each.
 */
import './help';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly what: string;
  readonly source: string;
}

interface CompileCommand {
  readonly directory: string;
  readonly command: string;
  readonly file: string;
}

const root = join(__dirname, '..');
const kernels = join(root, 'cuda', 'kernels');

/** The source that is compiled for a mutant of a header, and the tests that run it. */
const compiled: Record<string, string> = { 'dot.h': 'dot_simple.cu', 'tiles.h': 'tiles_simple.cu' };
const tests = (file: string): string =>
  file.startsWith('adapters')
    ? 'cuda_adapters_test'
    : /^(rows|attend|sample)/.test(file)
      ? 'cuda_rows_test'
      : 'cuda_linear_test';

/** Barriers and waits go; of bounds checks, each condition becomes what lets everything pass. */
const removals: readonly (readonly [RegExp, string])[] = [
  [/__syncthreads\(\);/, ''],
  [/wait_copies<\d>\(\);/, ''],
  [/if \((\w+ >= [\w.]+)\) return;/, ''],
  [/if \((r >= group\.count)\) continue;/, ''],
  [/if \(group\.count == 0\) return;/, ''],
  [/ \|\| r >= group\.count/, ''],
  [/if \((\w+\.position < 0)\) return;/, ''],
  [/ \|\| row >= task\.rows/, ''],
  [/token >= task\.rows \|\| /, ''],
  [/ \|\| output >= weight\.rows/, ''],
  [/b < weight\.columns \/ kGroup && /, ''],
  [/ && first \+ output < weight\.rows/, ''],
  [/first \+ token < task\.rows && /, ''],
  [/ && (input < columns|b < groups);/, ';'],
  [/position >= lowest && /, ''],
  [/ && position <= last;/, ';'],
  [/valid = token < tile\.rows;/, 'valid = true;'],
  [/valid = position < last;/, 'valid = true;'],
  [/if \(!valid\) continue;/, ''],
  [/seen = key <= position && /, 'seen = '],
  [/ && \(!task\.window \|\| key > position - task\.window\);/, ';'],
  [/nobodys = .*;/, 'nobodys = false;'],
  [/thread < kMaxSelected && /, ''],
  [/if \(thread < count\) \{/, '{'],
];

function mutantsOf(file: string): Mutant[] {
  const lines = readFileSync(join(kernels, file), 'utf8').split('\n');
  return lines.flatMap((text, i) =>
    removals.flatMap(([find, replacement]) => {
      const found = find.exec(text);
      if (!found || text.trim().startsWith('//')) return [];
      const source = lines.with(i, text.replace(find, replacement)).join('\n');
      return [{ file, line: i + 1, what: found[0].trim(), source }];
    }),
  );
}

/** A build of the tests, of which single objects are exchanged. */
class Build {
  private readonly directory: string;

  constructor(readonly sanitizer: string) {
    const folder = process.env['TRAMONTANE_MUTANTS'] ?? root;
    this.directory = join(folder, `build-mutants-${sanitizer.split(',')[0] ?? 'none'}`);
    const run = (...command: string[]): void => {
      execFileSync('cmake', command, { stdio: ['ignore', 'ignore', 'inherit'] });
    };
    const sanitize = `-DTRAMONTANE_SANITIZE=${sanitizer === 'none' ? '' : sanitizer}`;
    const type = `-DCMAKE_BUILD_TYPE=${sanitizer === 'none' ? 'Release' : 'RelWithDebInfo'}`;
    run('-S', root, '-B', this.directory, type, sanitize);
    run('--build', this.directory, '--target', 'cuda-tests', '--parallel', '2');
  }

  /** Whether a test fails with the mutant in place. */
  kills(mutant: Mutant): boolean {
    const overlay = join(this.directory, 'overlay');
    rmSync(overlay, { recursive: true, force: true });
    const path = join(overlay, 'kernels', mutant.file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, mutant.source);
    const wrapper = `kernels_${compiled[mutant.file] ?? mutant.file}.cc`;
    const commands = JSON.parse(
      readFileSync(join(this.directory, 'compile_commands.json'), 'utf8'),
    ) as CompileCommand[];
    const entry = commands.find(
      ({ file, command }) => file.endsWith(wrapper) && !command.includes('EMULATE_TURING'),
    );
    if (!entry) throw new Error(`nothing compiles ${wrapper}`);
    const [, original = ''] = / -o (\S+)/.exec(entry.command) ?? [];
    const object = join(overlay, 'mutant.o');
    const compile = entry.command.replace(original, object).replace(' -I', ` -I${overlay} -I`);
    // `-w`: what a check was for may be unused without it.
    execFileSync('sh', ['-c', `${compile} -w`], { cwd: entry.directory });
    const link = readFileSync(
      join(this.directory, 'cuda', 'CMakeFiles', 'cuda-tests.dir', 'link.txt'),
      'utf8',
    );
    const program = join(overlay, 'tests');
    const changed = link.replace(original.replace(/^cuda\//, ''), object);
    if (changed === link) throw new Error(`${original} is not linked`);
    execFileSync('sh', ['-c', changed.replace('-o cuda-tests', `-o ${program}`)], {
      cwd: join(this.directory, 'cuda'),
    });
    const result = spawnSync(program, [tests(mutant.file)], {
      timeout: 1_200_000,
      env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' },
    });
    return result.status !== 0;
  }
}

const parts = process.argv.length > 2 ? process.argv.slice(2) : [''];
const mutants = readdirSync(kernels)
  .filter((file) => /\.(cu|h)$/.test(file))
  .flatMap(mutantsOf)
  .filter(({ file, line }) => parts.some((part) => `${file}:${String(line)}`.includes(part)));
const builds = new Map<string, Build>();
const build = (sanitizer: string): Build => {
  const known = builds.get(sanitizer) ?? new Build(sanitizer);
  builds.set(sanitizer, known);
  return known;
};

console.log('| where | removed | seen by |\n|---|---|---|');
let survived = 0;
for (const mutant of mutants) {
  const killer = ['none', 'thread', 'address,undefined'].find((sanitizer) =>
    build(sanitizer).kills(mutant),
  );
  if (killer === undefined) survived++;
  const seen = killer === 'none' ? 'a test' : (killer ?? '**nothing**');
  const what = mutant.what.replaceAll('|', '\\|');
  console.log(`| ${mutant.file}:${String(mutant.line)} | \`${what}\` | ${seen} |`);
}
console.log(`\n${String(mutants.length)} mutants, ${String(survived)} survived`);
process.exitCode = survived > 0 ? 1 : 0;
