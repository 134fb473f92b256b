/** Which files of a repository are the model that is wanted. */
import type { TramontaneError } from '../errors';
import { missing } from './errors';

export interface Choice {
  /** Paths in the repository, those of a split file in order. */
  readonly files: readonly string[];
  /** What to open: the first of them; undefined: the directory they are in. */
  readonly open: string | undefined;
  /** Of a GGUF file, where its name says it. */
  readonly quant?: string;
  /** One line for people, where the choice was made for them. */
  readonly note?: string;
}

/** GGUF quantizations, the best first for one who has no wish: quality by size, and speed. */
const PREFERRED = [
  ...['Q4_K_M', 'Q4_K_S', 'Q4_0', 'IQ4_NL', 'IQ4_XS', 'Q4_1', 'Q5_K_M', 'Q5_K_S', 'Q5_0', 'Q5_1'],
  ...['Q6_K', 'Q8_0', 'Q3_K_L', 'Q3_K_M', 'Q3_K_S', 'Q2_K', 'BF16', 'F16', 'FP16', 'F32'],
];

const PART = /-(\d{5})-of-(\d{5})(?=\.gguf$)/i;
const QUANT = /(?:^|[-._/])(I?Q\d+(?:_[A-Z0-9]+)*|BF16|FP?16|FP?32)(?=[-._/]|$)/gi;
/** GGUF files that are no language model: projectors of images, and statistics. */
const OTHER_GGUF = /mmproj|imatrix/i;
/** What a directory of safetensors needs beside them. */
const SMALL_FILES: readonly string[] = [
  ...['config.json', 'generation_config.json', 'quantize_config.json', 'quantization_config.json'],
  ...['tokenizer.model', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'],
  ...['added_tokens.json', 'vocab.json', 'merges.txt', 'chat_template.jinja', 'chat_template.json'],
  'model.safetensors.index.json',
];
const MISTRAL_FILES = /^(params\.json|tokenizer\.model(\.v\w+)?|tekken\.json|consolidated\S*)$/;
/** Most names that an error lists. */
const MOST_LISTED = 20;

interface Gguf {
  readonly files: readonly string[];
  readonly quant: string | undefined;
}

/** The quantization a GGUF file's name says, in upper case: `Q4_K_M`. */
export function quantOf(file: string): string | undefined {
  const stem = file.replace(PART, '').replace(/\.gguf$/i, '');
  const found = [...stem.matchAll(QUANT)].at(-1)?.[1]?.toUpperCase();
  return found?.replace(/^FP(?=16|32)/, 'F');
}

/** All parts of a split file of which one is named; the file itself where it is whole. */
export function partsOf(file: string): string[] {
  const [, , count] = PART.exec(file) ?? [];
  if (count === undefined || Number(count) > 999) return [file];
  return Array.from({ length: Number(count) }, (_, index) =>
    file.replace(PART, `-${String(index + 1).padStart(5, '0')}-of-${count}`),
  );
}

/** The choice where the user named a file. */
export function chooseFile(file: string): Choice {
  const files = partsOf(file);
  const quant = /\.gguf$/i.test(file) ? quantOf(file) : undefined;
  return { files, open: files[0], ...(quant !== undefined && { quant }) };
}

/**
 * The files of the wanted model: the GGUF file of a quantization, or the safetensors with what
 * belongs to them, each weight once.
 * @param name of the repository, as a source: `hf:OWNER/REPO`
 * @param files all of the repository
 * @throws TramontaneError FILE_NOT_READABLE with what there is
 */
export function choose(name: string, files: readonly string[], quant?: string): Choice {
  const ggufs = ggufsOf(files);
  if (quant !== undefined) return chooseQuant(name, ggufs, quant);
  const folder = safetensorsOf(files);
  if (ggufs.length === 0 && folder.length === 0) throw noModel(name, files);
  // A repository with both is one of safetensors with a conversion beside; GGUF is the smaller.
  return ggufs.length === 0 ? { files: folder, open: undefined } : chooseDefault(name, ggufs);
}

/** The GGUF models among files: one each, or all parts of one. */
export function ggufsOf(files: readonly string[]): Gguf[] {
  const all = new Set(files);
  const models = new Map<string, Gguf>();
  for (const file of [...files].sort()) {
    if (!/\.gguf$/i.test(file) || OTHER_GGUF.test(file)) continue;
    const parts = partsOf(file);
    // What is not whole cannot be opened.
    if (parts.every((part) => all.has(part))) {
      models.set(parts[0]!, { files: parts, quant: quantOf(file) });
    }
  }
  return [...models.values()];
}

/** The files of a directory that is opened as a whole; none where there are no safetensors. */
export function safetensorsOf(files: readonly string[]): string[] {
  const top = files.filter((file) => !file.includes('/'));
  const weights = top.filter((file) => /\.safetensors$/i.test(file));
  const shared = weights.filter((file) => !/^consolidated|^adapter_/i.test(file));
  if (shared.length > 0 && top.includes('config.json')) {
    return [...top.filter((file) => SMALL_FILES.includes(file)), ...shared.sort()];
  }
  if (top.includes('params.json') && weights.some((file) => file.startsWith('consolidated'))) {
    return top.filter((file) => MISTRAL_FILES.test(file) && !/\.(pth|pt|bin)$/.test(file)).sort();
  }
  return [];
}

function chooseQuant(name: string, ggufs: readonly Gguf[], quant: string): Choice {
  if (ggufs.length === 0) {
    const advice = 'leave :QUANT out, or name a branch with @REVISION';
    throw missing(`${name} has no GGUF files, of which :${quant} would be one; ${advice}`);
  }
  const wanted = quant.toUpperCase();
  const exact = ggufs.filter((model) => model.quant === wanted.replace(/^FP(?=16$|32$)/, 'F'));
  const found = exact.length > 0 ? exact : ggufs.filter(({ files }) => hasWord(files[0]!, wanted));
  if (found.length === 0) {
    throw missing(`${name} has no GGUF file of ${quant}; there are: ${quantsOf(ggufs)}`);
  }
  return onlyOne(name, found, ` of ${quant}`);
}

/** Whether a name has a word between its separators, such as `UD-Q4_K_XL`. */
function hasWord(file: string, word: string): boolean {
  const text = `-${file.replace(PART, '').replace(/\.gguf$/i, '')}-`.toUpperCase();
  const at = text.indexOf(word);
  return at > 0 && /[-._/]/.test(text[at - 1]!) && /[-._/]/.test(text[at + word.length]!);
}

function chooseDefault(name: string, ggufs: readonly Gguf[]): Choice {
  if (ggufs.length === 1) return choiceOf(ggufs[0]!);
  const preferred = PREFERRED.find((quant) => ggufs.some((model) => model.quant === quant));
  if (preferred === undefined) return onlyOne(name, ggufs, '');
  const found = ggufs.filter(({ quant }) => quant === preferred);
  const note = `taking ${preferred} of ${name}, which has ${quantsOf(ggufs)}; :QUANT takes another`;
  return { ...onlyOne(name, found, ` of ${preferred}`), note };
}

function onlyOne(name: string, found: readonly Gguf[], which: string): Choice {
  if (found.length === 1) return choiceOf(found[0]!);
  const list = found.map(({ files }) => files[0]!);
  const advice = `name one: ${name}/${list[0]!}`;
  throw missing(`${name} has ${found.length} GGUF files${which} (${listed(list)}); ${advice}`);
}

function choiceOf({ files, quant }: Gguf): Choice {
  return { files, open: files[0], ...(quant !== undefined && { quant }) };
}

function quantsOf(ggufs: readonly Gguf[]): string {
  return listed([...new Set(ggufs.map(({ quant, files }) => quant ?? files[0]!))]);
}

function listed(names: readonly string[]): string {
  const rest = names.length - MOST_LISTED;
  return names.slice(0, MOST_LISTED).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function noModel(name: string, files: readonly string[]): TramontaneError {
  const pickles = files.some((file) => /\.(bin|pth?|ckpt)$/i.test(file));
  const adapter = files.includes('adapter_config.json');
  const found = adapter
    ? 'an adapter, which is no model by itself'
    : pickles
      ? "PyTorch's pickles alone, which are not read"
      : 'neither GGUF files nor safetensors with config.json';
  return missing(`${name} holds ${found}; look for one whose name ends in GGUF or GPTQ`);
}
