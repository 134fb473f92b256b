/** The tensors of a Hugging Face directory: one safetensors file, or shards named by an index. */
import { join } from 'node:path';
import { TramontaneError } from '../../errors';
import type { ByteSource, Folder } from '../byte-source';
import { isObject } from '../json';
import { JSON_LIMITS, MAX_FILES, MAX_TENSORS } from '../limits';
import { readJson } from '../json-object';
import { invalid, quoted, unsupported } from '../problems';
import { readSafetensors, type SafetensorsTensor } from './safetensors';

/** A tensor, and the file it is in. */
export interface HfTensor extends SafetensorsTensor {
  readonly source: ByteSource;
  /** Index of the file in {@link HfTensors.sources}. */
  readonly file: number;
}

export interface HfTensors {
  /** Open until the caller closes them. */
  readonly sources: readonly ByteSource[];
  readonly tensors: ReadonlyMap<string, HfTensor>;
}

/** Which files hold the tensors, and which tensors an index says each holds. */
interface Plan {
  readonly files: readonly string[];
  readonly index?: { readonly name: string; readonly map: ReadonlyMap<string, string> };
}

/**
 * Opens the files and reads their headers, then runs `use` on them and closes them.
 * @param only the one file to take, when the user named it
 */
export async function withTensors<T>(
  folder: Folder,
  only: string | undefined,
  use: (found: HfTensors) => Promise<T>,
): Promise<T> {
  const plan = await findFiles(folder, only);
  const sources: ByteSource[] = [];
  try {
    const tensors = new Map<string, HfTensor>();
    for (const [file, name] of plan.files.entries()) {
      const source = await folder.open(name);
      sources.push(source);
      for (const tensor of await readSafetensors(source)) {
        const other = tensors.get(tensor.name);
        if (other !== undefined) {
          const where = `is also in ${quoted(plan.files[other.file])}`;
          throw invalid(source.path, `tensor ${quoted(tensor.name)} ${where}`, tensor.at);
        }
        tensors.set(tensor.name, { ...tensor, source, file });
      }
    }
    checkIndex(folder, plan, tensors);
    return await use({ sources, tensors });
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

async function findFiles(folder: Folder, only: string | undefined): Promise<Plan> {
  const names = [...folder.names].sort();
  const single = names.filter((name) => name.endsWith('.safetensors'));
  const indexes = names.filter((name) => name.endsWith('.safetensors.index.json'));
  if (only === undefined && single.includes('model.safetensors')) {
    return { files: ['model.safetensors'] };
  }
  const preferred = indexes.find((name) => name === 'model.safetensors.index.json');
  const indexName = preferred ?? indexes[0];
  if (indexName !== undefined && (preferred !== undefined || indexes.length === 1)) {
    const plan = await readIndex(folder, indexName);
    if (only === undefined || plan.files.includes(only)) return plan;
  }
  if (only !== undefined) return { files: [only] };

  const [first, second] = single.filter((name) => !name.startsWith('consolidated'));
  if (first !== undefined && second === undefined) return { files: [first] };
  if (first !== undefined) {
    const advice = 'name the one to open, or keep model.safetensors.index.json beside shards';
    throw invalid(folder.path, `holds ${single.length} safetensors files; ${advice}`);
  }
  throw noTensors(folder, names, single.length > 0);
}

function noTensors(folder: Folder, names: readonly string[], hasConsolidated: boolean): Error {
  const supported = 'safetensors and GGUF files are supported';
  if (hasConsolidated) {
    const found = "holds weights in Mistral's own layout (consolidated.safetensors)";
    return unsupported(folder.path, `${found}; put their params.json beside them`);
  }
  const pickle = names.find((name) => /\.(bin|pt|pth|ckpt|h5|msgpack)$/.test(name));
  if (pickle !== undefined) {
    const advice = 'take the safetensors or GGUF files of the same model';
    return unsupported(folder.path, `holds ${quoted(pickle)} and no safetensors; ${advice}`);
  }
  const problem = `${folder.path}: holds no weights; ${supported}`;
  return new TramontaneError('FILE_NOT_READABLE', problem);
}

async function readIndex(folder: Folder, name: string): Promise<Plan> {
  const facts = await readJson(folder, name, JSON_LIMITS.index);
  const weightMap = facts.raw('weight_map');
  if (!isObject(weightMap)) throw facts.invalid('weight_map', 'is not an object');
  const map = new Map<string, string>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    if (typeof file !== 'string' || !file.endsWith('.safetensors') || /[/\\\0]/.test(file)) {
      throw facts.invalid('weight_map', `puts ${quoted(tensor)} into ${quoted(file)}`);
    }
    if (!folder.names.has(file)) {
      const problem = `not there, and ${name} puts tensor ${quoted(tensor)} into it`;
      throw new TramontaneError('FILE_NOT_READABLE', `${join(folder.path, file)}: ${problem}`);
    }
    map.set(tensor, file);
    if (map.size > MAX_TENSORS) {
      throw facts.invalid('weight_map', `has more than ${MAX_TENSORS} tensors`);
    }
  }
  const files = [...new Set(map.values())].sort();
  if (files.length > MAX_FILES) throw facts.invalid('weight_map', `has ${files.length} files`);
  return { files, index: { name, map } };
}

function checkIndex(folder: Folder, plan: Plan, tensors: ReadonlyMap<string, HfTensor>): void {
  for (const [name, file] of plan.index?.map ?? []) {
    const found = tensors.get(name);
    if (found === undefined || plan.files[found.file] !== file) {
      const path = join(folder.path, file);
      throw invalid(path, `tensor ${quoted(name)} is missing; ${plan.index?.name} puts it here`);
    }
  }
}
