/** Options several commands share, named as the API names them. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import {
  TramontaneError,
  type Adapter,
  type GenerateOptions,
  type LoadOptions,
  type Model,
  type TrainOptions,
} from '../index';
import { TRAIN_OPTIONS } from '../train/option-names';

const LOAD_OPTIONS = [
  'threads',
  'contextSize',
  'slidingWindow',
  'compute',
  'kvCacheType',
  'kvCacheTokens',
  'backend',
  'device',
  'memoryFraction',
  'gptqCache',
  'preload',
  'mapping',
] as const;

const SAMPLING_OPTIONS = [
  'maxTokens',
  'temperature',
  'topK',
  'topP',
  'minP',
  'seed',
  'repetitionPenalty',
  'presencePenalty',
  'frequencyPenalty',
  'logitBias',
  'allowedTokens',
  'stop',
  'stopTokens',
  'ignoreEos',
  'logprobs',
] as const;

export type LoadFlags = Pick<LoadOptions, (typeof LOAD_OPTIONS)[number]>;
export type SamplingFlags = Pick<GenerateOptions, (typeof SAMPLING_OPTIONS)[number]>;
export type TrainFlags = Pick<TrainOptions, (typeof TRAIN_OPTIONS)[number]>;

/** The options of `Model.load` among those of a command. */
export function loadFlags(flags: LoadFlags): LoadFlags {
  return pick(flags, LOAD_OPTIONS);
}

/** The options of `Model.generate` among those of a command. */
export function samplingFlags(flags: SamplingFlags): SamplingFlags {
  return pick(flags, SAMPLING_OPTIONS);
}

/** The options of `Model.train` among those of a command. */
export function trainFlags(flags: TrainFlags): TrainFlags {
  return pick(flags, TRAIN_OPTIONS);
}

function pick<T extends object, K extends keyof T>(object: T, keys: readonly K[]): Pick<T, K> {
  const present = keys.filter((key) => object[key] !== undefined);
  return Object.fromEntries(present.map((key) => [key, object[key]])) as Pick<T, K>;
}

/** The flag of an option: `maxTokens` is `--max-tokens`. */
function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

const OPTIONS = [...LOAD_OPTIONS, ...SAMPLING_OPTIONS, ...TRAIN_OPTIONS, 'adapterScale'];
const TWO_WORDS = OPTIONS.filter((name) => /[A-Z]/.test(name)).join('|');

/**
 * An error of the API in the command line's words: `topP must be ...` is `--top-p must be ...`. A
 * name that is a word of English too is taken for one where it is not the first.
 */
export function inFlags(message: string): string {
  return message
    .replace(new RegExp(`^(${OPTIONS.join('|')})\\b`), flagOf)
    .replace(new RegExp(`\\b(${TWO_WORDS})\\b`, 'g'), flagOf);
}

export interface AdapterFlags {
  readonly adapter?: string;
  readonly adapterScale?: number;
}

/** Adds an adapter that the model is used with. */
export function addAdapterOptions(command: Command): Command {
  return command
    .option('--adapter <path>', 'a LoRA: a directory of PEFT, or a .gguf file')
    .option('--adapter-scale <x>', 'what its part is multiplied by (default: 1)', number);
}

/** Loads the adapter of a command, for a request's options; it goes with the model. */
export async function adapterOf(
  model: Model,
  { adapter: path, adapterScale: scale }: AdapterFlags,
): Promise<{ adapter?: Adapter }> {
  if (path !== undefined) return { adapter: await model.loadAdapter(path, { scale }) };
  if (scale === undefined) return {};
  throw new TramontaneError('INVALID_OPTION', 'adapterScale goes with adapter');
}

/** Adds how a model is loaded. */
export function addLoadOptions(command: Command): Command {
  return command
    .optionsGroup('Model:')
    .option('--threads <n>', 'threads that compute (default: the CPUs it may use)', integer)
    .option('--context-size <n>', "tokens of prompt and output (default: the file's)", integer)
    .option(
      '--sliding-window <n|off>',
      "keys a token sees, or all (default: the file's)",
      windowSize,
    )
    .addOption(
      new Option('--compute <type>', 'arithmetic of linear layers; f32 is exact and slow').choices([
        'int8',
        'f32',
      ]),
    )
    .addOption(
      new Option('--kv-cache-type <type>', 'how keys and values are stored').choices([
        'f16',
        'f32',
      ]),
    )
    .option('--kv-cache-tokens <n>', 'tokens the key-value cache holds in all', integer)
    .addOption(
      new Option('--backend <name>', 'what computes; auto: a GPU if there is one').choices([
        'auto',
        'cpu',
        'cuda',
      ]),
    )
    .option('--device <n>', 'the GPU, from 0', integer)
    .option('--memory-fraction <x>', "part of the GPU's free memory to use (default: 0.9)", number)
    .option('--gptq-cache <file>', 'keep reordered GPTQ weights there for faster starts')
    .option('--preload', 'read the files first, not when they are first used')
    .addOption(
      new Option('--mapping <kind>', 'map the files, or read a copy of them').choices([
        'shared',
        'private',
        'read',
      ]),
    );
}

/** Adds how tokens are chosen and when to stop. */
export function addSamplingOptions(command: Command): Command {
  return command
    .optionsGroup('Sampling:')
    .option('-n, --max-tokens <n>', 'tokens to generate at most', integer)
    .option('-t, --temperature <x>', 'randomness; 0 takes the best token (default: 0.7)', number)
    .option('--top-k <n>', 'draw from the n best tokens', integer)
    .option('--top-p <x>', 'draw from the best tokens that make up this probability', number)
    .option('--min-p <x>', "drop tokens below this part of the best one's probability", number)
    .option('--seed <n>', 'the same seed gives the same text (default: a random one)', integer)
    .option('--repetition-penalty <x>', 'divides the logits of tokens seen; 1 is neutral', number)
    .option('--presence-penalty <x>', 'taken from the logits of tokens generated', number)
    .option('--frequency-penalty <x>', 'the same, for each time generated', number)
    .option('--logit-bias <id=x>', "added to a token's logit, -inf bans it; repeatable", logitBias)
    .option('--allowed-tokens <ids>', 'draw from these ids only, such as 12,77,2', integers)
    .option('--stop <text>', 'end before this text, \\n a line end; repeatable', stop)
    .option('--stop-tokens <ids>', 'end at any of these ids, such as 2,28705', integers)
    .option('--ignore-eos', 'go on after the end-of-sequence token')
    .option(
      '--logprobs <n>',
      'with --json: log-probabilities of each token and the n best',
      integer,
    );
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('It must be a number.');
  }
  return value;
}

export function integer(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

export function integers(text: string): number[] {
  return text.split(/\s*,\s*|\s+/).map(integer);
}

function windowSize(text: string): number | false {
  return text === 'off' ? false : integer(text);
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\' };

/** Stop strings, in which `\n \r \t \\ \uXXXX` are what they are in JavaScript. */
function stop(text: string, previous: readonly string[] = []): string[] {
  const unescaped = text.replace(/\\(u[0-9a-fA-F]{4}|.|$)/gsu, (_, escape: string) => {
    if (/^u./.test(escape)) return String.fromCharCode(parseInt(escape.slice(1), 16));
    const character = ESCAPES[escape];
    if (character !== undefined) return character;
    throw new InvalidArgumentError(`\\${escape} is no escape: there are \\n \\r \\t \\\\ \\uXXXX.`);
  });
  return [...previous, unescaped];
}

/** `ID=NUMBER`; `ID=-inf` bans the token. */
function logitBias(
  text: string,
  previous: ReadonlyMap<number, number> = new Map(),
): Map<number, number> {
  const [id = '', bias, ...more] = text.split('=');
  if (bias === undefined || more.length > 0) {
    throw new InvalidArgumentError('It must be ID=NUMBER, such as 1234=-5.');
  }
  return new Map(previous).set(integer(id), bias === '-inf' ? -Infinity : number(bias));
}
