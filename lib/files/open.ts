import { basename, dirname } from 'node:path';
import { TramontaneError } from '../errors';
import { isDirectory, openFile, openFolder, withFile, type ByteSource } from './byte-source';
import type { Checkpoint } from './checkpoint';
import { isGguf } from './gguf/reader';
import { readGgufCheckpoint } from './gguf/checkpoint';
import { readHfCheckpoint } from './hf/checkpoint';
import { invalid, quoted, unsupported } from './problems';

/**
 * Reads the headers of a model and describes it; weights stay in their files.
 * @param path a .gguf file; a directory with config.json and safetensors, in floats or quantized
 *   by GPTQ; one safetensors file of such a directory; or a directory with one .gguf file
 * @param options.signal aborts reading; the promise rejects with its reason
 * @throws TramontaneError FILE_NOT_READABLE, INVALID_FILE or UNSUPPORTED_FILE
 */
export async function openCheckpoint(
  path: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Checkpoint> {
  const { signal } = options;
  signal?.throwIfAborted();
  if (await isDirectory(path)) return openDirectory(path, signal);
  if (path.endsWith('.safetensors')) {
    const folder = await openFolder(dirname(path), signal);
    if (folder.names.has('config.json')) return readHfCheckpoint(folder, path, basename(path));
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: there is no config.json beside it`);
  }
  const source = await openFile(path, signal);
  try {
    return await openSingle(source, path);
  } finally {
    await source.close();
  }
}

async function openDirectory(path: string, signal?: AbortSignal): Promise<Checkpoint> {
  const folder = await openFolder(path, signal);
  const names = [...folder.names];
  const ggufs = names.filter((name) => name.endsWith('.gguf')).sort();
  const hasSafetensors = names.some((name) => name.endsWith('.safetensors'));
  const [first, second] = ggufs;
  if (first === undefined || hasSafetensors) {
    if (folder.names.has('config.json')) return readHfCheckpoint(folder, path);
    const needed = 'config.json and safetensors, or one .gguf file';
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: a model's directory holds ${needed}`);
  }
  if (second !== undefined) {
    const list = ggufs.slice(0, 10).join(', ');
    throw invalid(path, `holds ${ggufs.length} .gguf files; name the one to open (${list})`);
  }
  return withFile(folder, first, (source) => openSingle(source, path));
}

/** The first four bytes of formats that came before GGUF. */
const OLD_MAGICS = ['lmgg', 'fmgg', 'tjgg', 'algg'];

async function openSingle(source: ByteSource, path: string): Promise<Checkpoint> {
  const start = await source.read(0, Math.min(8, source.byteLength));
  if (isGguf(start)) return readGgufCheckpoint(source, path);
  const magic = start.toString('latin1', 0, 4);
  const supported = 'GGUF files and directories with config.json and safetensors are supported';
  if (OLD_MAGICS.includes(magic)) {
    throw unsupported(source.path, `a GGML file from before GGUF; ${supported}`, 0);
  }
  if (path.endsWith('.json')) {
    throw unsupported(source.path, `not a model; open its directory, ${quoted(dirname(path))}`);
  }
  throw invalid(source.path, `starts with ${quoted(magic)}; ${supported}`, 0);
}
