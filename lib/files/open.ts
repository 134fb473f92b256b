/** The way in: from a path to a checkpoint, whatever kind of model lies there. */
import { basename, dirname, join } from 'node:path';
import { TramontaneError } from '../errors';
import {
  isDirectory,
  openFile,
  openFolder,
  withFile,
  type ByteSource,
  type Folder,
} from './byte-source';
import type { Checkpoint } from './checkpoint';
import { readGgufCheckpoint } from './gguf/checkpoint';
import { onlyModel } from './gguf/parts';
import { isGguf } from './gguf/reader';
import { readHfCheckpoint } from './hf/checkpoint';
import { readJson } from './json-object';
import { JSON_LIMITS } from './limits';
import { isMistralLayout, readMistralCheckpoint } from './mistral/checkpoint';
import { invalid, quoted, unsupported } from './problems';
import { notAModel, START_BYTES } from './recognize';

/**
 * Reads the headers of a model and describes it; weights stay in their files.
 * @param path a .gguf file, or one part of a split one; a directory with config.json and
 *   safetensors, in floats or quantized by GPTQ; one with Mistral's params.json and
 *   consolidated.safetensors; one safetensors file of such a directory; or a directory with the
 *   .gguf file or files of one model
 * @param options.signal aborts reading; the promise rejects with its reason
 * @throws TramontaneError FILE_NOT_READABLE, INVALID_FILE or UNSUPPORTED_FILE
 */
export async function openCheckpoint(
  path: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Checkpoint> {
  const { signal } = options;
  signal?.throwIfAborted();
  if (await isDirectory(path)) return openDirectory(await openFolder(path, signal));
  if (path.endsWith('.safetensors')) {
    return openSafetensors(await openFolder(dirname(path), signal), path, basename(path));
  }
  const source = await openFile(path, signal);
  try {
    return await openSingle(source, path, () => openFolder(dirname(path), signal));
  } finally {
    await source.close();
  }
}

async function openDirectory(folder: Folder): Promise<Checkpoint> {
  const { path } = folder;
  const names = [...folder.names];
  const ggufs = names.filter((name) => name.endsWith('.gguf')).sort();
  const hasSafetensors = names.some((name) => name.endsWith('.safetensors'));
  if (ggufs.length === 0 || hasSafetensors) return openSafetensors(folder, path);
  const name = onlyModel(ggufs);
  if (name === undefined) {
    const list = ggufs.slice(0, 10).join(', ');
    throw invalid(path, `holds ${ggufs.length} .gguf files; name the one to open (${list})`);
  }
  return withFile(folder, name, (source) => openSingle(source, path, () => folder));
}

/** @param only the one file to take, when the user named it */
async function openSafetensors(folder: Folder, path: string, only?: string): Promise<Checkpoint> {
  if (isMistralLayout(folder, only)) return readMistralCheckpoint(folder, path);
  if (folder.names.has('config.json')) return readHfCheckpoint(folder, path, only);
  if (folder.names.has('adapter_config.json')) throw await peftAdapter(folder);
  if (only !== undefined) {
    throw new TramontaneError('FILE_NOT_READABLE', `${path}: there is no config.json beside it`);
  }
  if (folder.names.has('snapshots')) {
    const advice = `open the directory of one of its versions, in ${quoted(join(path, 'snapshots'))}`;
    throw unsupported(path, `a cache of the Hugging Face Hub; ${advice}`);
  }
  const pickle = [...folder.names].find((name) => /\.(pth|pt|bin|ckpt)$/.test(name));
  if (pickle !== undefined) {
    await withFile(folder, pickle, async (source) => {
      throw notAModel(source.path, await startOf(source)) ?? noModel(path);
    });
  }
  throw noModel(path);
}

function noModel(path: string): TramontaneError {
  const needed = 'config.json and safetensors, or the .gguf files of one model';
  return new TramontaneError('FILE_NOT_READABLE', `${path}: a model's directory holds ${needed}`);
}

async function peftAdapter(folder: Folder): Promise<TramontaneError> {
  const facts = await readJson(folder, 'adapter_config.json', JSON_LIMITS.config);
  const base = facts.string('base_model_name_or_path');
  const advice = base === undefined ? 'the model it was made for' : quoted(base);
  return unsupported(folder.path, `an adapter of PEFT, which is not a model; open ${advice}`);
}

function startOf(source: ByteSource): Promise<Buffer> {
  return source.read(0, Math.min(START_BYTES, source.byteLength));
}

async function openSingle(
  source: ByteSource,
  path: string,
  siblings: () => Folder | Promise<Folder>,
): Promise<Checkpoint> {
  const start = await startOf(source);
  if (isGguf(start)) return readGgufCheckpoint(source, path, siblings);
  const found = notAModel(source.path, start);
  if (found !== undefined) throw found;
  if (path.endsWith('.json')) {
    throw unsupported(source.path, `not a model; open its directory, ${quoted(dirname(path))}`);
  }
  // A safetensors file begins with the length of a JSON object.
  if (start.length > 8 && start.readBigUInt64LE() <= source.byteLength && start[8] === 0x7b) {
    throw unsupported(source.path, 'a safetensors file; its name must end in .safetensors');
  }
  const magic = quoted(start.toString('latin1', 0, 4));
  const supported = 'GGUF files and directories with config.json and safetensors are supported';
  throw invalid(source.path, `starts with ${magic}; ${supported}`, 0);
}
