/** What a Hugging Face config.json says of a model. */
import type { Checkpoint, ModelShape, SlidingWindow } from '../checkpoint';
import { readWhole, withFile, type Folder } from '../byte-source';
import type { Facts } from '../facts';
import { isObject } from '../json';
import { JSON_LIMITS, MAX_PIECES, MAX_TEMPLATE } from '../limits';
import { readJson, type JsonObject } from '../json-object';
import { quoted } from '../problems';
import { readShape, readSlidingWindow, type ShapeKeys } from '../shape';

export interface HfModel {
  readonly architecture: string;
  readonly shape: ModelShape;
  readonly slidingWindow: SlidingWindow;
  readonly tied: boolean;
}

/** Model classes, and what config.json's `model_type` calls them. */
const ARCHITECTURES: ReadonlyMap<unknown, string> = new Map([
  ['MistralForCausalLM', 'mistral'],
  ['LlamaForCausalLM', 'llama'],
]);
const TEMPLATE_FILE = 'chat_template.jinja';
const TOKENIZER_CONFIG = 'tokenizer_config.json';

const KEYS: ShapeKeys = {
  layers: 'num_hidden_layers',
  hiddenSize: 'hidden_size',
  ffnSize: 'intermediate_size',
  heads: 'num_attention_heads',
  kvHeads: 'num_key_value_heads',
  headSize: ['head_dim'],
  contextSize: 'max_position_embeddings',
  rmsEpsilon: 'rms_norm_eps',
  ropeBase: ['rope_theta', 'rope_parameters.rope_theta'],
  slidingWindow: 'sliding_window',
};

export function readHfModel(config: JsonObject): HfModel {
  const architecture = readArchitecture(config);
  refuseVariants(config);
  const vocabulary = config.integer('vocab_size', 1, MAX_PIECES);
  const vocabularySize = config.required('vocab_size', vocabulary);
  const shape = readShape(config, KEYS, vocabularySize, 'halves');
  return {
    architecture,
    shape,
    slidingWindow: readSlidingWindow(config, KEYS, shape),
    tied: config.boolean('tie_word_embeddings') ?? false,
  };
}

function readArchitecture(config: JsonObject): string {
  const supported = `${[...ARCHITECTURES.keys()].join(' and ')} are supported`;
  const [named] = asArray(config.raw('architectures'));
  if (named !== undefined && !ARCHITECTURES.has(named)) {
    throw config.unsupported('architectures', `says ${quoted(named)}; ${supported}`);
  }
  const modelType = config.string('model_type');
  if (modelType !== undefined && ![...ARCHITECTURES.values()].includes(modelType)) {
    throw config.unsupported('model_type', `is ${quoted(modelType)}; ${supported}`);
  }
  return config.required('model_type', modelType ?? ARCHITECTURES.get(named));
}

/** Settings that change what is computed, which no v0.1 to v0.3 model has. */
function refuseVariants(config: JsonObject): void {
  const activation = config.string('hidden_act');
  if (activation !== undefined && activation !== 'silu' && activation !== 'swish') {
    throw config.unsupported('hidden_act', `is ${quoted(activation)}; silu is supported`);
  }
  for (const key of ['attention_bias', 'mlp_bias']) {
    if (config.boolean(key) === true) {
      throw config.unsupported(key, 'is true; layers without a bias are supported');
    }
  }
  for (const prefix of ['', 'rope_parameters.']) {
    const key = `${prefix}partial_rotary_factor`;
    const factor = config.real(key, 0, 1) ?? 1;
    if (factor !== 1) {
      throw config.unsupported(key, `is ${factor}; rotation of whole heads is supported`);
    }
  }
  for (const key of ['rope_scaling', 'rope_parameters']) {
    const type = config.string(`${key}.rope_type`) ?? config.string(`${key}.type`) ?? 'default';
    const factor = config.real(`${key}.factor`, 0, Number.MAX_VALUE) ?? 1;
    // Linear scaling divides positions by the factor.
    if (type !== 'default' && !(type === 'linear' && factor === 1)) {
      throw config.unsupported(key, `has the type ${quoted(type)}; unscaled rope is supported`);
    }
    if (factor !== 1) {
      throw config.unsupported(key, `has the factor ${factor}; unscaled rope is supported`);
    }
  }
}

/** Ids that end a generation, of generation_config.json where there is one, and config.json. */
export async function readEndTokens(
  folder: Folder,
  config: JsonObject,
  vocabularySize: number,
): Promise<number[]> {
  const all: Facts[] = [config];
  const name = 'generation_config.json';
  if (folder.names.has(name)) all.unshift(await readJson(folder, name, JSON_LIMITS.config));
  const ids = new Set<number>();
  for (const facts of all) {
    for (const id of asArray(facts.raw('eos_token_id'))) {
      if (typeof id !== 'number' || !Number.isInteger(id)) {
        throw facts.invalid('eos_token_id', `is ${quoted(id)}, not the id of a token`);
      }
      // As in Facts.tokenId, other numbers stand for no token.
      if (id >= 0 && id < vocabularySize) ids.add(id);
    }
  }
  return [...ids];
}

/**
 * The chat template: chat_template.jinja, or what tokenizer_config.json has, which may be a list of
 * named ones: `default`, and `tool_use` for conversations with tools.
 */
export async function readChatTemplates(
  folder: Folder,
): Promise<Pick<Checkpoint, 'chatTemplate' | 'toolTemplate'>> {
  const named = folder.names.has(TOKENIZER_CONFIG)
    ? namedTemplates(await readJson(folder, TOKENIZER_CONFIG, JSON_LIMITS.tokenizerConfig))
    : new Map<string, string>();
  if (folder.names.has(TEMPLATE_FILE)) {
    const read = withFile(folder, TEMPLATE_FILE, (source) => readWhole(source, MAX_TEMPLATE));
    named.set('default', (await read).toString('utf8'));
  }
  const [chatTemplate, toolTemplate] = [named.get('default'), named.get('tool_use')];
  return {
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    ...(toolTemplate === undefined ? {} : { toolTemplate }),
  };
}

function namedTemplates(config: JsonObject): Map<string, string> {
  const key = 'chat_template';
  const list = config.raw(key);
  if (!Array.isArray(list)) {
    const only = config.string(key);
    return new Map(only === undefined ? [] : [['default', only]]);
  }
  return new Map(
    list.map((each: unknown) => {
      const { name, template } = isObject(each) ? each : {};
      if (typeof name === 'string' && typeof template === 'string') return [name, template];
      throw config.invalid(key, `has ${quoted(each)} in its list, not a name with a template`);
    }),
  );
}

function asArray(value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}
