/**
 * How a GPTQ checkpoint was quantized, as AutoGPTQ and GPTQModel write it: `quantization_config`
 * in config.json, or quantize_config.json.
 */
import { runInNewContext } from 'node:vm';
import type { GptqParts } from '../checkpoint';
import type { Folder } from '../byte-source';
import { isObject } from '../json';
import { JSON_LIMITS } from '../limits';
import { JsonObject, readJson } from '../json-object';
import { quoted } from '../problems';

/** How one module was quantized. */
export interface GptqRules extends Pick<GptqParts, 'bits' | 'zeroBias'> {
  /** Inputs per group; undefined: the whole column is one. */
  readonly groupSize?: number;
  readonly actOrder: boolean;
}

export interface GptqConfig {
  /** Of the file the rules come from, for messages. */
  readonly path: string;
  /** Of modules that `dynamic` does not single out. */
  readonly general: GptqRules;
  readonly symmetric?: boolean;
  /** Name of the safetensors file, without its end: for directories that hold several. */
  readonly weightsName?: string;
  /** The rules of each module: the general ones, or a `dynamic` entry's. */
  rules(module: string): GptqRules;
}

const SUPPORTED = 'GPTQ in the gptq and gptq_v2 formats is supported';
const MAX_PATTERNS = 1000;
const MAX_PATTERN = 1000;

/**
 * The quantization of a directory; undefined when it names none.
 * @param modules names of the modules `dynamic` patterns may match
 */
export async function readGptqConfig(
  folder: Folder,
  config: JsonObject,
  modules: readonly string[],
): Promise<GptqConfig | undefined> {
  const facts = await findQuantization(folder, config);
  if (facts === undefined) return undefined;
  refuseOtherMethods(facts);
  const general = readRules(facts, undefined);
  const overrides = readDynamic(facts, general, modules);
  const symmetric = facts.boolean('sym');
  const weightsName = facts.string('model_file_base_name');
  return {
    path: facts.path,
    general,
    ...(symmetric === undefined ? {} : { symmetric }),
    ...(weightsName === undefined ? {} : { weightsName }),
    rules: (module) => overrides.get(module) ?? general,
  };
}

async function findQuantization(
  folder: Folder,
  config: JsonObject,
): Promise<JsonObject | undefined> {
  const inside = config.raw('quantization_config');
  if (inside !== undefined && inside !== null) {
    if (!isObject(inside)) throw config.invalid('quantization_config', 'is not an object');
    return new JsonObject(`${config.path}: quantization_config`, inside);
  }
  for (const name of ['quantize_config.json', 'quant_config.json']) {
    if (folder.names.has(name)) return readJson(folder, name, JSON_LIMITS.config);
  }
  return undefined;
}

function refuseOtherMethods(facts: JsonObject): void {
  for (const key of ['quant_method', 'method']) {
    const method = facts.string(key)?.toLowerCase();
    if (method !== undefined && method !== 'gptq') {
      throw facts.unsupported(key, `is ${quoted(method)}; ${SUPPORTED}`);
    }
  }
  // AWQ's own files name no method.
  for (const key of ['w_bit', 'q_group_size', 'zero_point']) {
    if (facts.raw(key) !== undefined) throw facts.unsupported(key, `is AWQ's; ${SUPPORTED}`);
  }
  for (const key of ['load_in_4bit', 'load_in_8bit']) {
    if (facts.boolean(key) === true) {
      throw facts.unsupported(key, `is bitsandbytes'; ${SUPPORTED}`);
    }
  }
  if (facts.boolean('is_marlin_format') === true) {
    throw facts.unsupported('is_marlin_format', `is true: repacked for Marlin; ${SUPPORTED}`);
  }
}

/** Rules of the whole file, or of an override, which takes what it doesn't say from `general`. */
function readRules(facts: JsonObject, general: GptqRules | undefined): GptqRules {
  const bits = facts.integer('bits', 1, 64) ?? general?.bits;
  if (bits === undefined) throw facts.invalid('bits', 'is missing');
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) {
    throw facts.unsupported('bits', `is ${bits}; 2, 3, 4 and 8 are supported`);
  }
  const packed = facts.string('pack_dtype')?.toLowerCase().replace('torch.', '') ?? 'int32';
  if (packed !== 'int32') {
    throw facts.unsupported('pack_dtype', `is ${quoted(packed)}; int32 is supported`);
  }
  const groupSize = readGroupSize(facts, general);
  return {
    bits,
    zeroBias: readZeroBias(facts) ?? general?.zeroBias ?? 1,
    actOrder: facts.boolean('desc_act') ?? general?.actOrder ?? false,
    ...(groupSize === undefined ? {} : { groupSize }),
  };
}

function readGroupSize(facts: JsonObject, general: GptqRules | undefined): number | undefined {
  const size = facts.integer('group_size', -1, 2 ** 20);
  if (size === 0) throw facts.invalid('group_size', 'is 0');
  if (size === undefined && general === undefined) throw facts.invalid('group_size', 'is missing');
  if (size === undefined) return general?.groupSize;
  return size === -1 ? undefined : size;
}

/** `checkpoint_format` is the older name of `format`; without either a file is v1. */
function readZeroBias(facts: JsonObject): 0 | 1 | undefined {
  const formats = ['checkpoint_format', 'format'].flatMap((key) => {
    const format = facts.string(key)?.toLowerCase();
    if (format === undefined) return [];
    if (format !== 'gptq' && format !== 'gptq_v2') {
      throw facts.unsupported(key, `is ${quoted(format)}; ${SUPPORTED}`);
    }
    return [format];
  });
  const [first, second] = formats;
  if (first === undefined) return undefined;
  if (second !== undefined && second !== first) {
    throw facts.invalid('format', `is ${second}, and checkpoint_format is ${first}`);
  }
  return first === 'gptq' ? 1 : 0;
}

/**
 * The rules of modules that `dynamic` singles out. Its keys are regular expressions that match
 * from the start of a module's name, the first match counts: `+:` or no prefix overrides rules;
 * `-:` leaves a module in 16 bits, which its tensors show as well, so those entries are not needed.
 */
function readDynamic(
  facts: JsonObject,
  general: GptqRules,
  modules: readonly string[],
): Map<string, GptqRules> {
  const dynamic = facts.raw('dynamic');
  if (dynamic === undefined || dynamic === null) return new Map();
  if (!isObject(dynamic)) throw facts.invalid('dynamic', 'is not an object');
  const entries = Object.entries(dynamic).filter(([key]) => !key.startsWith('-:'));
  if (entries.length > MAX_PATTERNS) {
    throw facts.invalid('dynamic', `has ${entries.length} entries`);
  }
  const overrides = entries.map(([key, value]) => {
    const place = `${facts.path}: dynamic: ${quoted(key)}`;
    if (!isObject(value)) throw facts.invalid('dynamic', `has ${quoted(value)} at ${quoted(key)}`);
    return readRules(new JsonObject(place, value), general);
  });
  if (entries.length === 0) return new Map();
  const patterns = entries.map(([key]) => translated(facts, key.replace(/^\+:/, '')));
  const rules = new Map<string, GptqRules>();
  for (const [i, winner] of firstMatches(facts, patterns, modules).entries()) {
    const [module, override] = [modules[i], overrides[winner]];
    if (module !== undefined && override !== undefined) rules.set(module, override);
  }
  return rules;
}

/** Python's regular expressions are written as JavaScript's, but for a few that mean other things. */
function translated(facts: JsonObject, pattern: string): string {
  const foreign = /\\(?![dDsSwWbBnrtfv])\w|\(\?(?![:=!]|<[=!])|\{,|[*+?}]\+/.exec(pattern)?.[0];
  if (foreign !== undefined || pattern.length > MAX_PATTERN || !compiles(pattern)) {
    const reason = foreign === undefined ? '' : `: ${quoted(foreign)} is not known`;
    throw facts.unsupported('dynamic', `has the pattern ${quoted(pattern)}${reason}`);
  }
  return pattern;
}

function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern, 'y');
    return true;
  } catch {
    return false;
  }
}

/** How long all patterns may take together; a hostile one could take forever. */
const MATCH_MS = 500;

/** For each module the index of the first pattern that matches, or -1. */
function firstMatches(
  facts: JsonObject,
  patterns: readonly string[],
  modules: readonly string[],
): number[] {
  const script = `{
    const expressions = patterns.map((pattern) => new RegExp(pattern, 'y'));
    modules.map((module) => expressions.findIndex((expression) => {
      expression.lastIndex = 0;
      return expression.test(module);
    }));
  }`;
  try {
    const found: unknown = runInNewContext(script, { patterns, modules }, { timeout: MATCH_MS });
    return Array.from(found as ArrayLike<number>, Number);
  } catch {
    throw facts.unsupported('dynamic', 'has a pattern that takes too long to match');
  }
}
