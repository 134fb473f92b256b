/** The way in: from a path to an adapter, whatever kind of file lies there. */
import { basename, dirname } from 'node:path';
import { TramontaneError } from '../errors';
import { isDirectory, openFile, openFolder, withFile, type Folder } from '../files/byte-source';
import type { ModelShape } from '../files/checkpoint';
import { isGguf } from '../files/gguf/reader';
import { invalid, unsupported } from '../files/problems';
import { notAModel, START_BYTES } from '../files/recognize';
import type { AdapterFile } from './adapter-file';
import { readGgufAdapter } from './gguf-adapter';
import { PEFT_CONFIG, PEFT_TENSORS } from './peft';
import { readPeftAdapter } from './peft-adapter';

/**
 * Reads the header of an adapter for a model of this shape; its tensors stay in their file.
 * @param path a directory of PEFT with adapter_config.json and adapter_model.safetensors; its
 *   safetensors file; or a .gguf file
 * @throws TramontaneError FILE_NOT_READABLE, INVALID_FILE or UNSUPPORTED_FILE
 */
export async function openAdapter(
  path: string,
  shape: ModelShape,
  signal?: AbortSignal,
): Promise<AdapterFile> {
  if (await isDirectory(path)) return openPeft(await openFolder(path, signal), shape);
  if (basename(path) === PEFT_TENSORS) {
    return openPeft(await openFolder(dirname(path), signal), shape);
  }
  const source = await openFile(path, signal);
  try {
    const start = await source.read(0, Math.min(START_BYTES, source.byteLength));
    if (isGguf(start)) return await readGgufAdapter(source, shape);
    const needed = `GGUF files and directories with ${PEFT_CONFIG} are supported`;
    throw notAModel(path, start) ?? invalid(path, `no adapter; ${needed}`, 0);
  } finally {
    await source.close();
  }
}

/** What an adapter is called where nobody says it: its directory, or its file without `.gguf`. */
export function adapterName(path: string): string {
  const named = basename(path) === PEFT_TENSORS ? dirname(path) : path;
  return basename(named).replace(/\.gguf$/i, '') || named;
}

async function openPeft(folder: Folder, shape: ModelShape): Promise<AdapterFile> {
  if (!folder.names.has(PEFT_CONFIG)) {
    const problem = `${folder.path}: an adapter's directory holds ${PEFT_CONFIG} and ${PEFT_TENSORS}`;
    throw new TramontaneError('FILE_NOT_READABLE', problem);
  }
  if (!folder.names.has(PEFT_TENSORS) && folder.names.has('adapter_model.bin')) {
    const advice = 'let PEFT save it with safe_serialization=True';
    throw unsupported(
      folder.path,
      `holds adapter_model.bin, a pickle, which is not read; ${advice}`,
    );
  }
  return withFile(folder, PEFT_TENSORS, (source) => readPeftAdapter(folder, source, shape));
}
