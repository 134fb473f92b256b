/**
 * GGUF models in several files, as llama-gguf-split writes them: `a-00001-of-00003.gguf` has all
 * named values and the first tensors, the others have `split.no`, `split.count` and more tensors.
 */
import { basename, join } from 'node:path';
import { TramontaneError } from '../../errors';
import type { ByteSource, Folder } from '../byte-source';
import { MAX_FILES } from '../limits';
import { invalid, quoted } from '../problems';
import { GgufFacts } from './facts';
import { readGguf } from './reader';

/** A file of a model, open. */
export interface GgufPart {
  readonly source: ByteSource;
  readonly facts: GgufFacts;
}

/** The names of all parts, in order, when a file has the name of one: `a-00002-of-00003.gguf`. */
export function partNames(name: string): string[] | undefined {
  const [, stem, number, total] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name) ?? [];
  const count = Number(total);
  if (!(Number(number) >= 1 && Number(number) <= count && count <= MAX_FILES)) return undefined;
  return Array.from({ length: count }, (_, i) => {
    return `${stem}-${String(i + 1).padStart(5, '0')}-of-${total}.gguf`;
  });
}

/** Of the sorted names of a directory's models the one to open, if all are one, or parts of one. */
export function onlyModel(names: readonly string[]): string | undefined {
  const models = new Set(names.map((name) => partNames(name)?.[0] ?? name));
  return models.size === 1 ? names[0] : undefined;
}

/**
 * Reads the header of a file, and those of the files that hold the rest of its model; runs `use` on
 * them, and closes those it opened.
 * @param siblings gives the directory the file is in
 */
export async function withParts<T>(
  source: ByteSource,
  siblings: () => Folder | Promise<Folder>,
  use: (parts: readonly [GgufPart, ...GgufPart[]]) => Promise<T> | T,
): Promise<T> {
  const given = { source, facts: new GgufFacts(await readGguf(source)) };
  const count = splitCount(given.facts);
  if (count === 1) return use([given]);
  const names = partNames(basename(source.path));
  if (names?.length !== count) {
    const called = `its name must end in -00001-of-${String(count).padStart(5, '0')}.gguf or so`;
    throw invalid(source.path, `split.count says this is one of ${count} files, and ${called}`);
  }
  const folder = await siblings();
  const opened: ByteSource[] = [];
  try {
    const parts: GgufPart[] = [];
    for (const [number, name] of names.entries()) {
      const part = name === basename(source.path) ? given : await openPart(folder, name, opened);
      checkPart(part.facts, number, count);
      parts.push(part);
    }
    checkTensorCount(parts);
    return await use(parts as [GgufPart, ...GgufPart[]]);
  } finally {
    await Promise.all(opened.map((each) => each.close()));
  }
}

function splitCount(facts: GgufFacts): number {
  return Math.max(facts.integer('split.count', 0, 65_535) ?? 1, 1);
}

async function openPart(folder: Folder, name: string, opened: ByteSource[]): Promise<GgufPart> {
  if (!folder.names.has(name)) {
    const problem = 'not there, and the other parts of this model need it';
    throw new TramontaneError('FILE_NOT_READABLE', `${join(folder.path, name)}: ${problem}`);
  }
  const source = await folder.open(name);
  opened.push(source);
  return { source, facts: new GgufFacts(await readGguf(source)) };
}

function checkPart(facts: GgufFacts, number: number, count: number): void {
  const no = facts.required('split.no', facts.integer('split.no', 0, 65_535));
  const found = splitCount(facts);
  if (no === number && found === count) return;
  const says = `says it is part ${no + 1} of ${found}`;
  throw facts.invalid('split.no', `${says}, and its name says part ${number + 1} of ${count}`);
}

/** Parts of two models under one name mostly have different numbers of tensors. */
function checkTensorCount(parts: readonly GgufPart[]): void {
  const key = 'split.tensors.count';
  const found = parts.reduce((sum, { facts }) => sum + facts.header.tensors.size, 0);
  for (const { facts } of parts) {
    const wanted = facts.integer(key, 0, 2 ** 31) ?? found;
    if (wanted === found) continue;
    const problem = `is ${wanted}, and the parts have ${found} tensors: one is of another model`;
    throw facts.invalid(
      key,
      `${problem} (${parts.map((part) => quoted(basename(part.source.path))).join(', ')})`,
    );
  }
}
