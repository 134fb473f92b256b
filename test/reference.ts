/**
 * Where tests find data made by other programs: small copies in test/fixtures, and the whole
 * reference folder, which need not be there.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const repository = resolve(__dirname, '..');

/**
 * The folder named by TRAMONTANE_REFERENCE, else `shared/reference` beside the repository;
 * undefined when there is none. A folder that is named but missing is an error, not a skip.
 */
export const referenceDir: string | undefined = findReference();

function findReference(): string | undefined {
  const named = process.env['TRAMONTANE_REFERENCE'];
  if (named !== undefined && named !== '') {
    if (!existsSync(named)) throw new Error(`TRAMONTANE_REFERENCE names ${named}: not there`);
    return resolve(named);
  }
  const beside = resolve(repository, '../shared/reference');
  return existsSync(beside) ? beside : undefined;
}

/**
 * A `describe` whose tests need the reference folder. Without the folder `body` is not run; one
 * skipped test stands for all of its tests, and a line on stderr says so.
 * @param body gets the folder's path
 */
export function describeWithReference(name: string, body: (directory: string) => void): void {
  const directory = referenceDir;
  if (directory !== undefined) {
    describe(name, () => {
      body(directory);
    });
    return;
  }
  process.stderr.write(`skipped: "${name}": no reference folder (set TRAMONTANE_REFERENCE)\n`);
  describe.skip(name, () => {
    test('needs the reference folder: set TRAMONTANE_REFERENCE', () => undefined);
  });
}

/** The path of a file or directory in test/fixtures, such as `fixture('gguf/swa-Q4_0.gguf')`. */
export function fixture(name: string): string {
  const path = join(repository, 'test/fixtures', name);
  if (!existsSync(path)) throw new Error(`no fixture ${name}`);
  return path;
}
