/** Where the tests of grammars find schemas and instances made by others; they need not be there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceDir } from '../reference';

const directory = referenceDir === undefined ? undefined : join(referenceDir, '../structured');

/** As {@link describeWithReference}, for the folder `structured` beside the reference folder. */
export function describeWithStructured(name: string, body: (directory: string) => void): void {
  if (directory !== undefined && existsSync(directory)) {
    describe(name, () => {
      body(directory);
    });
    return;
  }
  process.stderr.write(`skipped: "${name}": no folder shared/structured beside the reference\n`);
  describe.skip(name, () => {
    test('needs the folder shared/structured', () => undefined);
  });
}

/** The JSON files of a folder, by name. */
export function readFolder<T>(folder: string): [name: string, content: T][] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return names.map((name) => [name, JSON.parse(readFileSync(join(folder, name), 'utf8')) as T]);
}
