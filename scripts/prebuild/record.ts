/** Of which sources each prebuilt addon was made, kept beside them: old ones are not published. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = join(__dirname, '../..');
const file = join(root, 'prebuilds/sources.json');

export interface Made {
  /** Of all in cpp/, in hexadecimal digits. */
  readonly sources: string;
  /** `zig`, or `host`: by this machine's compiler, so for its system and newer ones only. */
  readonly by: 'zig' | 'host';
}

export function sourcesHash(): string {
  const hash = createHash('sha256');
  const names = readdirSync(join(root, 'cpp'), { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((path) => /\.(cc|h|txt|gyp)$/.test(path)).sort()) {
    if (name.startsWith('build')) continue;
    hash.update(`${name}\0`).update(readFileSync(join(root, 'cpp', name)));
  }
  return hash.digest('hex').slice(0, 16);
}

export function readRecord(): Record<string, Made> {
  if (!existsSync(file)) return {};
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, Made>;
}

export function writeRecord(target: string, by: Made['by']): void {
  mkdirSync(dirname(file), { recursive: true });
  const record = { ...readRecord(), [target]: { sources: sourcesHash(), by } };
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
}
