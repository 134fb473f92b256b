/**
 * PEFT's files of a LoRA (https://huggingface.co/docs/peft): the names of tensors, and
 * adapter_config.json, read and written.
 */
import { isObject } from '../files/json';
import type { JsonObject } from '../files/json-object';
import { quoted } from '../files/problems';
import { modulePatterns, type ModuleTest } from './module-pattern';

export const PEFT_CONFIG = 'adapter_config.json';
export const PEFT_TENSORS = 'adapter_model.safetensors';

/** The parts a module can have: `in -> lora_A -> lora_B -> out`, and DoRA's vector. */
export type PeftPart = 'lora_A' | 'lora_B' | 'lora_magnitude_vector';

const PREFIX = 'base_model.model.';
const PARTS = /^(.+)\.(lora_A|lora_B|lora_magnitude_vector)(\.weight)?$/;

/** The tensor of a module of the base model: `model.layers.0.self_attn.q_proj` and `lora_A`. */
export function peftTensor(module: string, part: PeftPart): string {
  return `${PREFIX}${module}.${part}.weight`;
}

/** The module and part that a tensor is of; undefined when it is nothing of a LoRA's. */
export function parsePeftTensor(name: string): { module: string; part: PeftPart } | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const [, module, part, weight] = PARTS.exec(name.slice(PREFIX.length)) ?? [];
  if (module === undefined || part === undefined) return undefined;
  // Old files have the vector without `.weight`.
  if (weight === undefined && part !== 'lora_magnitude_vector') return undefined;
  return { module, part: part as PeftPart };
}

/** What adapter_config.json says. */
export interface PeftConfig {
  readonly rank: number;
  readonly alpha: number;
  /** Whether alpha is divided by the root of the rank (Kalajdzievski, arXiv:2312.03732). */
  readonly rslora: boolean;
  readonly dora: boolean;
  /** Ends of modules' names, such as `q_proj`, or an expression that whole names match. */
  readonly targetModules: readonly string[] | string;
  readonly base?: string;
}

/** The same with what holds for some modules only. */
export interface PeftRules extends PeftConfig {
  /** Whether the module (of this layer) is adapted at all. */
  targets(module: string, layer: number): boolean;
  rankOf(module: string): number;
  /** What B A is multiplied by. */
  scaleOf(module: string): number;
}

/** adapter_config.json of a LoRA that has the same form in all its modules. */
export function writePeftConfig(config: PeftConfig): string {
  const values = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: config.base ?? null,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: 0,
    rank_pattern: {},
    alpha_pattern: {},
    target_modules: config.targetModules,
    layers_to_transform: null,
    layers_pattern: null,
    modules_to_save: null,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: config.rslora,
    use_dora: config.dora,
    init_lora_weights: true,
    inference_mode: true,
  };
  return `${JSON.stringify(values, null, 2)}\n`;
}

const MAX_RANK = 4096;
const MAX_ALPHA = 1e6;
const MAX_LAYER = 4096;

/** What training alone is about, or says nothing of what is computed. */
const IGNORED = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'corda_config',
  'eva_config',
  'inference_mode',
  'loftq_config',
  'lora_dropout',
  'lora_ga_config',
  'megatron_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'runtime_config',
  'task_type',
]);
const READ = new Set([
  'alpha_pattern',
  'bias',
  'exclude_modules',
  'init_lora_weights',
  'layers_pattern',
  'layers_to_transform',
  'lora_alpha',
  'peft_type',
  'r',
  'rank_pattern',
  'target_modules',
  'use_dora',
  'use_rslora',
]);
/** Those that begin from the model's own weights, and change these. */
const KEEPS_BASE = new Set<unknown>([
  undefined,
  null,
  true,
  false,
  'gaussian',
  'eva',
  'orthogonal',
]);

/**
 * Reads adapter_config.json. Whatever it asks for that is not computed is refused by its name.
 * @throws TramontaneError INVALID_FILE, UNSUPPORTED_FILE
 */
export function readPeftConfig(config: JsonObject): PeftRules {
  const type = config.text('peft_type');
  if (type !== 'LORA')
    throw config.unsupported('peft_type', `is ${quoted(type)}; LORA is supported`);
  refuseOthers(config);
  const rank = config.required('r', config.integer('r', 1, MAX_RANK));
  const alpha = config.required('lora_alpha', config.real('lora_alpha', -MAX_ALPHA, MAX_ALPHA));
  const rslora = config.boolean('use_rslora') ?? false;
  const ranks = patternsOf(config, 'rank_pattern', (each, key) => each.integer(key, 1, MAX_RANK));
  const alphas = patternsOf(config, 'alpha_pattern', (each, key) => {
    return each.real(key, -MAX_ALPHA, MAX_ALPHA);
  });
  const rankOf = (module: string): number => ranks(module) ?? rank;
  const base = config.string('base_model_name_or_path');
  return {
    rank,
    alpha,
    rslora,
    dora: config.boolean('use_dora') ?? false,
    targetModules: targetsOf(config),
    ...(base !== undefined && { base }),
    targets: targetTest(config),
    rankOf,
    scaleOf: (module) => {
      return loraScale(alphas(module) ?? alpha, rankOf(module), rslora);
    },
  };
}

/** What B A is multiplied by. */
export function loraScale(alpha: number, rank: number, rslora: boolean): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}

/** Whether a value asks for nothing. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

function refuseOthers(config: JsonObject): void {
  for (const [key, value] of config.entries()) {
    if (IGNORED.has(key) || READ.has(key) || isEmpty(value)) continue;
    throw config.unsupported(key, `is ${quoted(value)}, which is not supported`);
  }
  const bias = config.string('bias') ?? 'none';
  if (bias !== 'none') {
    throw config.unsupported('bias', `is ${quoted(bias)}; adapters without a bias are supported`);
  }
  const start = config.raw('init_lora_weights');
  if (!KEEPS_BASE.has(start)) {
    const problem = `is ${quoted(start)}: the adapter belongs to weights that it has changed`;
    throw config.unsupported(
      'init_lora_weights',
      `${problem}; let PEFT convert it to a plain LoRA`,
    );
  }
}

/** The value of the first pattern that a module's name ends with. */
function patternsOf(
  config: JsonObject,
  key: string,
  read: (values: JsonObject, key: string) => number | undefined,
): (module: string) => number | undefined {
  const values = config.optional(key, (each) => each);
  const entries = (values?.entries() ?? []).map(([pattern]) => {
    return [pattern, values!.required(pattern, read(values!, pattern))] as const;
  });
  const tests = modulePatterns(
    config,
    key,
    entries.map(([pattern]) => pattern),
    'end',
  );
  return (module) => entries.find((_, index) => tests[index]!(module))?.[1];
}

function targetsOf(config: JsonObject): readonly string[] | string {
  const value = config.raw('target_modules');
  return Array.isArray(value) ? stringsOf(config, 'target_modules') : config.text('target_modules');
}

function stringsOf(config: JsonObject, key: string): string[] {
  return config.array(key).map((value) => {
    if (typeof value === 'string') return value;
    throw config.invalid(key, `has ${quoted(value)} in its list, not a string`);
  });
}

/** Modules by the ends of their names, or by one expression for the whole. */
function namesTest(config: JsonObject, key: string): ModuleTest {
  if (config.lacks(key)) return () => false;
  if (typeof config.raw(key) === 'string') {
    return modulePatterns(config, key, [config.text(key)], 'whole')[0]!;
  }
  const names = stringsOf(config, key);
  const whole = new Set(names);
  return (module) => whole.has(module) || names.some((name) => module.endsWith(`.${name}`));
}

function targetTest(config: JsonObject): PeftRules['targets'] {
  const isLinear = config.raw('target_modules') === 'all-linear';
  const included = isLinear ? () => true : namesTest(config, 'target_modules');
  const excluded = namesTest(config, 'exclude_modules');
  const layers = layersOf(config);
  return (module, layer) => {
    return included(module) && !excluded(module) && (layers?.has(layer) ?? true);
  };
}

function layersOf(config: JsonObject): ReadonlySet<number> | undefined {
  const key = 'layers_to_transform';
  const value = config.raw(key);
  if (isEmpty(value)) return undefined;
  if (typeof config.raw('target_modules') === 'string') {
    throw config.invalid(key, 'goes with a list of target_modules only');
  }
  const pattern = config.raw('layers_pattern');
  const patterns: unknown[] = Array.isArray(pattern) ? pattern : [pattern];
  if (!isEmpty(pattern) && !patterns.includes('layers')) {
    throw config.unsupported('layers_pattern', `is ${quoted(pattern)}; "layers" is supported`);
  }
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return new Set(
    list.map((layer) => {
      const isLayer = Number.isInteger(layer) && Number(layer) >= 0 && Number(layer) < MAX_LAYER;
      if (!isLayer) throw config.invalid(key, `has ${quoted(layer)}, not the number of a layer`);
      return Number(layer);
    }),
  );
}
