/** The options of training, checked, with their defaults. */
import { TramontaneError } from '../errors';
import { filePath, type FileUrl } from '../files/path';
import type { AbortSignalLike } from '../model/abort-signals';
import * as check from '../model/checks';
import { loraScale } from '../adapters/peft';
import { TARGET_MODULES, type TargetModule } from './lora';
import { TRAIN_OPTIONS } from './option-names';
import type { TrainingDataset } from './samples';

export const SCHEDULES = ['cosine', 'linear', 'constant'] as const;

/** What a step of the optimizer came to. */
export interface TrainingStep {
  /** From 1 on, to `steps`. */
  readonly step: number;
  readonly steps: number;
  /** Passes over the data so far, with a fraction. */
  readonly epoch: number;
  /** Mean cross entropy of the learned tokens of this step, in nats, before it. */
  readonly loss: number;
  readonly learningRate: number;
  /** Length of the gradient before it was clipped. */
  readonly gradientNorm: number;
  /** Tokens that were computed in this step, learned or not. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Of the whole training. */
  readonly remainingSeconds: number;
  /** Where this step was followed by an evaluation: of the samples kept apart. */
  readonly evaluation?: Evaluation;
}

/** How samples that are not trained on are predicted. */
export interface Evaluation {
  /** Mean cross entropy, in nats. */
  readonly loss: number;
  /** exp of it. */
  readonly perplexity: number;
}

/** Options of {@link Model.train}. */
export interface TrainOptions {
  /**
   * The directory of the adapter: adapter_config.json and adapter_model.safetensors as PEFT has them,
   * with losses.jsonl and losses.svg beside, and checkpoints. It is made.
   */
  readonly output: string | FileUrl;
  /** Of the adapters. @default 16 */
  readonly rank?: number;
  /** The adapters' part is multiplied by alpha / rank. @default 2 * rank */
  readonly alpha?: number;
  /** By alpha / sqrt(rank) instead (rank-stabilized, arXiv:2312.03732). @default false */
  readonly rsLora?: boolean;
  /** Linear layers that get an adapter, in every layer. @default all seven */
  readonly targets?: readonly TargetModule[];
  /** Part of an adapter's inputs that is dropped at random, seeded, below 1. @default 0 */
  readonly dropout?: number;
  /**
   * Most tokens of a sequence; a longer sample is an error. Shorter samples are packed into one
   * sequence, where they do not see each other. Memory grows with it.
   * @default the longest sample's, at least 512, at most the context
   */
  readonly sequenceLength?: number;
  /** Whether samples share sequences. @default true */
  readonly packing?: boolean;
  /**
   * Sequences a step. They are computed one after another and their gradients summed, so that they
   * take time and no memory.
   * @default 4
   */
  readonly batchSize?: number;
  /** Passes over the data. @default 3 */
  readonly epochs?: number;
  /** Steps of the optimizer, instead of `epochs`. */
  readonly steps?: number;
  /** The highest. @default 2e-4 */
  readonly learningRate?: number;
  /** How the learning rate falls to 0 after the warm-up, or that it does not. @default 'cosine' */
  readonly schedule?: (typeof SCHEDULES)[number];
  /** Steps in which the learning rate rises from 0. @default 3 in 100, rounded up */
  readonly warmupSteps?: number;
  /** @default 0 */
  readonly weightDecay?: number;
  /** Of AdamW. @default 0.9 */
  readonly beta1?: number;
  /** @default 0.999 */
  readonly beta2?: number;
  /** @default 1e-8 */
  readonly epsilon?: number;
  /** A longer gradient is scaled down to it; 0: none is. @default 1 */
  readonly maxGradientNorm?: number;
  /** Of the adapters' first values, of the order of samples, of dropout. @default 0 */
  readonly seed?: number;
  /** Whether samples come in an order of the seed's, another in each pass. @default true */
  readonly shuffle?: boolean;
  /**
   * What is not trained on: a part of the samples, below 1, or a dataset of its own. Its loss is
   * found before the first step, every `evaluateEvery` steps, and at the end. @default none
   */
  readonly evaluation?: number | TrainingDataset;
  /** @default once a pass over the data */
  readonly evaluateEvery?: number;
  /** Stops when so many evaluations in turn were no better than the best. @default never */
  readonly patience?: number;
  /** An adapter's directory to go on from, of the same rank and targets. @default new adapters */
  readonly adapter?: string | FileUrl;
  /** Steps from one checkpoint to the next; 0: none. @default 50 */
  readonly checkpointEvery?: number;
  /**
   * Goes on from the checkpoint in `output`, to the bit as if there had been no interruption. The
   * data and all options must be what they were. Without a checkpoint it starts anew. @default false
   */
  readonly resume?: boolean;
  /** Called after each step; what it throws ends the training. */
  readonly onStep?: (step: TrainingStep) => void;
  /** Ends the training soon; the adapter is written as the last whole step left it. */
  readonly signal?: AbortSignalLike;
}

/** Options with their defaults; what depends on the data is undefined until that is known. */
export interface TrainSettings {
  readonly output: string;
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly targets: readonly TargetModule[];
  readonly dropout: number;
  readonly sequenceLength: number | undefined;
  readonly packing: boolean;
  readonly batchSize: number;
  readonly epochs: number;
  readonly steps: number | undefined;
  readonly learningRate: number;
  readonly schedule: (typeof SCHEDULES)[number];
  readonly warmupSteps: number | undefined;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly maxGradientNorm: number;
  readonly seed: number;
  readonly shuffle: boolean;
  readonly evaluation: number | TrainingDataset;
  readonly evaluateEvery: number | undefined;
  readonly patience: number | undefined;
  readonly adapter: string | undefined;
  readonly checkpointEvery: number;
  readonly resume: boolean;
  readonly onStep: ((step: TrainingStep) => void) | undefined;
  readonly signal: AbortSignalLike | undefined;
}

const MOST_STEPS = 1e9;
const MOST_RANK = 4096;

/** @throws TramontaneError INVALID_OPTION */
export function checkTrainOptions(options: TrainOptions, contextSize: number): TrainSettings {
  check.checkNames('train()', options, TRAIN_OPTIONS);
  const { integer, number, boolean } = check;
  const optional = <T>(value: T | undefined, one: (value: T) => unknown): T | undefined => {
    if (value !== undefined) one(value);
    return value;
  };
  const rank = integer('rank', options.rank ?? 16, 1, MOST_RANK);
  const dropout = number('dropout', options.dropout ?? 0, 0, 1);
  if (dropout === 1) throw check.invalidOption('dropout', 'below 1', dropout);
  const { steps, epochs, evaluation = 0, onStep, signal } = options;
  if (steps !== undefined && epochs !== undefined) {
    throw new TramontaneError('INVALID_OPTION', 'steps and epochs: give one of them');
  }
  if (typeof evaluation === 'number') {
    number('evaluation', evaluation, 0, 1);
    if (evaluation === 1) throw check.invalidOption('evaluation', 'below 1', evaluation);
  }
  if (onStep !== undefined && typeof onStep !== 'function') {
    throw check.invalidOption('onStep', 'a function', onStep);
  }
  return {
    output: filePath('output', options.output),
    rank,
    alpha: number('alpha', options.alpha ?? 2 * rank, 0, 1e6),
    rsLora: boolean('rsLora', options.rsLora ?? false),
    targets: checkTargets(options.targets ?? TARGET_MODULES),
    dropout,
    sequenceLength: optional(options.sequenceLength, (value) =>
      integer('sequenceLength', value, 2, contextSize),
    ),
    packing: boolean('packing', options.packing ?? true),
    batchSize: integer('batchSize', options.batchSize ?? 4, 1, 1e6),
    epochs: integer('epochs', epochs ?? 3, 1, 1e6),
    steps: optional(steps, (value) => integer('steps', value, 1, MOST_STEPS)),
    learningRate: number('learningRate', options.learningRate ?? 2e-4, 0, 10),
    schedule: check.oneOf('schedule', options.schedule ?? 'cosine', SCHEDULES),
    warmupSteps: optional(options.warmupSteps, (value) =>
      integer('warmupSteps', value, 0, MOST_STEPS),
    ),
    weightDecay: number('weightDecay', options.weightDecay ?? 0, 0, 1),
    beta1: number('beta1', options.beta1 ?? 0.9, 0, 0.999999),
    beta2: number('beta2', options.beta2 ?? 0.999, 0, 0.999999),
    epsilon: number('epsilon', options.epsilon ?? 1e-8, 1e-30, 1),
    maxGradientNorm: number('maxGradientNorm', options.maxGradientNorm ?? 1, 0, 1e9),
    seed: integer('seed', options.seed ?? 0, 0, 2 ** 48 - 1),
    shuffle: boolean('shuffle', options.shuffle ?? true),
    evaluation,
    evaluateEvery: optional(options.evaluateEvery, (value) =>
      integer('evaluateEvery', value, 1, MOST_STEPS),
    ),
    patience: optional(options.patience, (value) => integer('patience', value, 1, MOST_STEPS)),
    adapter: options.adapter === undefined ? undefined : filePath('adapter', options.adapter),
    checkpointEvery: integer('checkpointEvery', options.checkpointEvery ?? 50, 0, MOST_STEPS),
    resume: boolean('resume', options.resume ?? false),
    onStep,
    signal: optional(signal, (value) => check.signal('signal', value)),
  };
}

function checkTargets(value: unknown): readonly TargetModule[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw check.invalidOption('targets', `some of ${TARGET_MODULES.join(', ')}`, value);
  }
  for (const one of value) check.oneOf('one of targets', one, TARGET_MODULES);
  return TARGET_MODULES.filter((target) => value.includes(target));
}

/** What changes nothing of the adapter that comes of a training, or is known by the data. */
const APART: readonly string[] = [
  'output',
  'resume',
  'onStep',
  'signal',
  'checkpointEvery',
  'evaluation',
] satisfies (keyof TrainSettings)[];

/** What an interrupted training must have in common with the one that goes on, as a text. */
export function resumableSettings(settings: TrainSettings): string {
  return JSON.stringify(settings, (key, value: unknown) =>
    APART.includes(key) ? undefined : value,
  );
}

/** What an adapter's part is multiplied by. */
export function scaleOf({ alpha, rank, rsLora }: TrainSettings): number {
  return loraScale(alpha, rank, rsLora);
}
