/** Finds and reads a tokenizer's data; building the tokenizer is for lib/tokenizer. */
import { basename, dirname } from 'node:path';
import { TramontaneError } from '../errors';
import type { TokenizerSource } from './tokenizer-source';
import {
  isDirectory,
  openFile,
  openFolder,
  readWhole,
  withFile,
  type ByteSource,
  type Folder,
} from './byte-source';
import { isGguf, readGguf } from './gguf/reader';
import { GgufFacts } from './gguf/facts';
import { ggufTokenizer } from './gguf/tokenizer';
import { MAX_JSON } from './json-file';
import { unsupported } from './problems';

/** Of a SentencePiece model; the largest known has some 5 MB. */
const MAX_SENTENCEPIECE = 100_000_000;
const CONFIG = 'tokenizer_config.json';

/**
 * The tokenizer data of a path: a .gguf file, a tokenizer.json, a SentencePiece model of any name,
 * or a directory that holds one of them. Files are told apart by content.
 */
export async function readTokenizerSource(path: string): Promise<TokenizerSource> {
  if (await isDirectory(path)) return folderTokenizer(await openFolder(path));
  const source = await openFile(path);
  try {
    return await fileTokenizer(source, () => openFolder(dirname(path)));
  } finally {
    await source.close();
  }
}

/** The tokenizer of a directory: tokenizer.model, else tokenizer.json, else one of another name. */
export async function folderTokenizer(folder: Folder): Promise<TokenizerSource> {
  const names = [...folder.names].sort();
  const others = names.filter((name) => /\.model(\.v\d\w*)?$|\.gguf$/.test(name));
  const name = ['tokenizer.model', 'tokenizer.json'].find((known) => folder.names.has(known));
  const chosen = name ?? (others.length === 1 ? others[0] : undefined);
  if (chosen !== undefined) {
    return withFile(folder, chosen, (source) => fileTokenizer(source, () => folder));
  }
  if (others.length > 1) {
    const found = `holds ${others.join(', ')}: name the one to open`;
    throw new TramontaneError('FILE_NOT_READABLE', `${folder.path}: ${found}`);
  }
  const supported = 'tokenizer.model and tokenizer.json are supported';
  if (names.includes('tekken.json')) {
    throw unsupported(folder.path, `holds tekken.json; ${supported}`);
  }
  throw new TramontaneError(
    'FILE_NOT_READABLE',
    `${folder.path}: holds no tokenizer; ${supported}`,
  );
}

/** @param siblings gives the directory the file is in */
async function fileTokenizer(
  source: ByteSource,
  siblings: () => Folder | Promise<Folder>,
): Promise<TokenizerSource> {
  const { path } = source;
  const start = await source.read(0, Math.min(64, source.byteLength));
  if (isGguf(start)) return ggufTokenizer(new GgufFacts(await readGguf(source)));
  if (!path.endsWith('.json') && !/^\s*\{/.test(start.toString('latin1'))) {
    return { kind: 'sentencepiece', path, bytes: await readWhole(source, MAX_SENTENCEPIECE) };
  }
  const text = (await readWhole(source, MAX_JSON)).toString('utf8');
  const folder = await siblings();
  if (basename(path) === CONFIG || !folder.names.has(CONFIG)) {
    return { kind: 'tokenizer.json', path, text };
  }
  const config = await withFile(folder, CONFIG, (file) => readWhole(file, MAX_JSON));
  return { kind: 'tokenizer.json', path, text, config: config.toString('utf8') };
}
