/** Finds and reads a tokenizer's data; building the tokenizer is for lib/tokenizer. */
import { dirname } from 'node:path';
import { TramontaneError } from '../errors';
import type { TokenizerSiblings, TokenizerSource } from './tokenizer-source';
import {
  isDirectory,
  openFile,
  openFolder,
  readWhole,
  withFile,
  type ByteSource,
  type Folder,
} from './byte-source';
import { onlyModel, withParts } from './gguf/parts';
import { isGguf } from './gguf/reader';
import { ggufTokenizer } from './gguf/tokenizer';
import { type JsonFile } from './json';
import { JSON_LIMITS, MAX_SENTENCEPIECE } from './limits';
import { unsupported } from './problems';
import { notAModel, START_BYTES } from './recognize';

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
  const chosen = name ?? onlyModel(others);
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
  const start = await source.read(0, Math.min(START_BYTES, source.byteLength));
  // The first part of a model in several has the tokenizer.
  if (isGguf(start)) return withParts(source, siblings, ([{ facts }]) => ggufTokenizer(facts));
  const found = notAModel(path, start);
  if (found !== undefined) throw found;
  const kind = isJson(path, start) ? 'tokenizer.json' : 'sentencepiece';
  const limit = kind === 'tokenizer.json' ? JSON_LIMITS.tokenizer.bytes : MAX_SENTENCEPIECE;
  const bytes = await readWhole(source, limit);
  return { kind, path, bytes, ...(await readSiblings(await siblings())) };
}

function isJson(path: string, start: Buffer): boolean {
  return path.endsWith('.json') || /^\s*\{/.test(start.toString('utf8'));
}

async function readSiblings(folder: Folder): Promise<TokenizerSiblings> {
  const read = async (name: string): Promise<JsonFile | undefined> => {
    if (!folder.names.has(name)) return undefined;
    return withFile(folder, name, async (source) => {
      return {
        path: source.path,
        bytes: await readWhole(source, JSON_LIMITS.tokenizerConfig.bytes),
      };
    });
  };
  const config = await read('tokenizer_config.json');
  const addedTokens = await read('added_tokens.json');
  const specialTokens = await read('special_tokens_map.json');
  return {
    ...(config === undefined ? {} : { config }),
    ...(addedTokens === undefined ? {} : { addedTokens }),
    ...(specialTokens === undefined ? {} : { specialTokens }),
  };
}
