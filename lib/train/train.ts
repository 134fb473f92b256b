/** Training, from a dataset to the directory of an adapter. */
import { basename } from 'node:path';
import { TramontaneError } from '../errors';
import { onAbort } from '../model/abort-signals';
import type { ModelShape } from '../files/checkpoint';
import {
  fromNative,
  native,
  type NativeDescription,
  type NativeSequence,
  type NativeTrainer,
} from '../model/native';
import { makeDirectory, readAdapter, writeAdapter } from './adapter-file';
import { fingerprint, readCheckpoint, removeCheckpoint, writeCheckpoint } from './checkpoint';
import { readDataset } from './dataset';
import { initialParameters, loraSlots, rolesOf, type LoraSlot } from './lora';
import { writeLosses, type LossPoint } from './losses';
import {
  checkTrainOptions,
  resumableSettings,
  scaleOf,
  type Evaluation,
  type TrainOptions,
  type TrainSettings,
} from './options';
import { learnedTokens, pack } from './packing';
import type { Sample, SampleEncoder, TrainingDataset } from './samples';
import { learningRate } from './schedule';
import { SeededRandom } from './seeded-random';

/** What a training needs of a model. */
export interface TrainedModel {
  /** For the adapter's configuration. */
  readonly name: string;
  readonly shape: ModelShape;
  readonly contextSize: number;
  readonly description: NativeDescription;
  readonly encoder: SampleEncoder;
}

/** How a training ended. */
export interface TrainResult {
  /** The directory of the adapter. */
  readonly output: string;
  /** `finished`, `aborted` by the signal, or `early`: evaluations became no better. */
  readonly reason: 'finished' | 'aborted' | 'early';
  /** Steps that were done, those before a resumption included. */
  readonly steps: number;
  /** Mean loss of the last step; absent where there was none. */
  readonly loss?: number;
  /** Of the samples kept apart, before the first step and after the last. */
  readonly evaluationBefore?: Evaluation;
  readonly evaluation?: Evaluation;
}

/** Least of {@link TrainOptions.sequenceLength} where nobody says it. */
const LEAST_SEQUENCE = 512;
const WARMUP_PART = 0.03;

interface Data {
  readonly training: readonly NativeSequence[];
  readonly evaluation: readonly NativeSequence[];
  readonly sequenceLength: number;
}

/** @throws TramontaneError INVALID_OPTION, INVALID_FILE and others that {@link Model.train} names */
export async function train(
  model: TrainedModel,
  dataset: TrainingDataset,
  options: TrainOptions,
): Promise<TrainResult> {
  const settings = checkTrainOptions(options, model.contextSize);
  const data = await prepare(model, dataset, settings);
  const slots = loraSlots(model.shape, settings.targets, settings.rank);
  try {
    const trainer = new (native().Trainer)(model.description, {
      rank: settings.rank,
      scale: scaleOf(settings),
      dropout: settings.dropout,
      seed: settings.seed,
      targets: rolesOf(slots),
      mostTokens: data.sequenceLength,
    });
    return await new Training(model, settings, data, slots, trainer).run();
  } catch (error) {
    throw settings.signal?.aborted === true && error === settings.signal.reason
      ? error
      : fromNative(error);
  }
}

async function prepare(
  { encoder, contextSize }: TrainedModel,
  dataset: TrainingDataset,
  settings: TrainSettings,
): Promise<Data> {
  const { evaluation, seed, shuffle, signal, packing, sequenceLength: asked } = settings;
  const rules = {
    encoder,
    signal,
    most: asked ?? contextSize,
    mostSource: asked === undefined ? "the model's context" : 'sequenceLength',
  };
  const all = await readDataset('dataset', dataset, rules);
  if (shuffle) new SeededRandom(seed).shuffle(all);
  let kept: Sample[] = [];
  if (typeof evaluation !== 'number') kept = await readDataset('evaluation', evaluation, rules);
  else if (evaluation > 0) {
    const count = Math.max(1, Math.round(all.length * evaluation));
    if (count >= all.length) {
      const message = `evaluation ${evaluation} of ${all.length} samples leaves none to train on`;
      throw new TramontaneError('INVALID_OPTION', message);
    }
    kept = all.splice(all.length - count);
  }
  const longest = [...all, ...kept].reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const sequenceLength =
    asked ?? Math.min(contextSize, packing ? Math.max(longest, LEAST_SEQUENCE) : longest);
  return {
    training: pack(all, sequenceLength, packing),
    evaluation: pack(kept, sequenceLength, packing),
    sequenceLength,
  };
}

/** One training at work. */
class Training {
  readonly #steps: number;
  readonly #stepsPerEpoch: number;
  readonly #warmup: number;
  readonly #evaluateEvery: number;
  /** Of data and options, by which a checkpoint is known to be of this training. */
  readonly #fingerprint: string;
  #points: LossPoint[] = [];
  /** Steps that are done. */
  #step = 0;
  #aborted = false;

  constructor(
    readonly model: TrainedModel,
    readonly settings: TrainSettings,
    readonly data: Data,
    readonly slots: readonly LoraSlot[],
    readonly trainer: NativeTrainer,
  ) {
    const { steps, epochs, batchSize, warmupSteps, evaluateEvery } = settings;
    this.#stepsPerEpoch = Math.ceil(data.training.length / batchSize);
    this.#steps = steps ?? epochs * this.#stepsPerEpoch;
    this.#warmup = warmupSteps ?? Math.ceil(WARMUP_PART * this.#steps);
    this.#evaluateEvery = evaluateEvery ?? this.#stepsPerEpoch;
    this.#fingerprint = fingerprint(
      [...data.training, ...data.evaluation],
      resumableSettings(settings),
    );
  }

  async run(): Promise<TrainResult> {
    const { signal, output, patience } = this.settings;
    signal?.throwIfAborted();
    const forgetSignal = signal
      ? onAbort(signal, () => {
          this.#aborted = true;
          this.trainer.cancel();
        })
      : () => undefined;
    try {
      await makeDirectory(output);
      await this.trainer.open();
      await this.#begin();
      const reason = await this.#go();
      if (reason === 'aborted') await this.#saveCheckpoint();
      else await removeCheckpoint(output);
      // With patience, the best is there already.
      if (patience === undefined || this.#best() === undefined) await this.#saveAdapter();
      await writeLosses(output, `Losses of ${basename(output)}`, this.#points);
      return this.#result(reason);
    } finally {
      forgetSignal();
      this.trainer.cancel();
    }
  }

  async #begin(): Promise<void> {
    const { output, adapter, rank, seed, resume } = this.settings;
    if (resume) {
      const progress = await readCheckpoint(output, this.trainer, this.#fingerprint);
      if (progress !== undefined) {
        this.#step = progress.step;
        this.#points = [...progress.points];
        return;
      }
    }
    const parameters = initialParameters(this.slots, rank, seed);
    if (adapter !== undefined) {
      const form = { rank, scale: scaleOf(this.settings) };
      await readAdapter(adapter, this.model.shape, this.slots, form, parameters);
    }
    this.trainer.write('parameters', parameters);
  }

  async #go(): Promise<TrainResult['reason']> {
    const { checkpointEvery, patience, onStep } = this.settings;
    if (this.data.evaluation.length > 0 && this.#points.length === 0) {
      const before = await this.#evaluate();
      if (before === undefined) return 'aborted';
      this.#points.push({ step: 0, evaluationLoss: before });
    }
    const pace = new Pace();
    while (this.#step < this.#steps) {
      const step = this.#step + 1;
      const rate = learningRate(step, this.#steps, this.#warmup, this.settings);
      const done = await this.#learn(step, rate);
      if (done === undefined) return 'aborted';
      this.#step = step;
      pace.add(done.tokens);
      const evaluationLoss = this.#isEvaluated(step) ? await this.#evaluate() : undefined;
      const { loss, gradientNorm, tokens } = done;
      this.#points.push({
        step,
        loss,
        learningRate: rate,
        ...(evaluationLoss !== undefined && { evaluationLoss }),
      });
      if (evaluationLoss !== undefined && patience !== undefined && this.#best() === step) {
        await this.#saveAdapter();
      }
      if (checkpointEvery > 0 && step % checkpointEvery === 0) await this.#saveCheckpoint();
      onStep?.({
        step,
        steps: this.#steps,
        epoch: step / this.#stepsPerEpoch,
        loss,
        learningRate: rate,
        gradientNorm,
        tokens,
        tokensPerSecond: pace.tokensPerSecond,
        remainingSeconds: pace.secondsPerStep * (this.#steps - step),
        ...(evaluationLoss !== undefined && { evaluation: evaluationOf(evaluationLoss) }),
      });
      if (this.#aborted) return 'aborted';
      if (patience !== undefined && this.#evaluationsSinceBest() >= patience) return 'early';
    }
    return 'finished';
  }

  /** One step of the optimizer; undefined when it was given up. */
  async #learn(
    step: number,
    rate: number,
  ): Promise<{ loss: number; gradientNorm: number; tokens: number } | undefined> {
    const { beta1, beta2, epsilon, weightDecay, maxGradientNorm } = this.settings;
    const batch = this.#batch(step);
    const learned = learnedTokens(batch.map(({ sequence }) => sequence));
    let sum = 0;
    for (const { sequence, number } of batch) {
      const one = await this.trainer.accumulate(sequence, 1 / learned, number);
      if (one === undefined) return undefined;
      sum += one;
    }
    const loss = sum / learned;
    const gradientNorm = await this.trainer.update({
      learningRate: rate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      mostNorm: maxGradientNorm,
      step,
    });
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      const message = `step ${step}: the loss is ${loss}, the gradient's norm ${gradientNorm}; try a lower learningRate`;
      throw new TramontaneError('COMPUTE_FAILED', message);
    }
    const tokens = batch.reduce((count, { sequence }) => count + sequence.tokens.length, 0);
    return { loss, gradientNorm, tokens };
  }

  /** The sequences of a step, each with a number that no other has. The last of a pass may be fewer. */
  #batch(step: number): { sequence: NativeSequence; number: number }[] {
    const { training } = this.data;
    const { batchSize, shuffle, seed } = this.settings;
    const epoch = Math.floor((step - 1) / this.#stepsPerEpoch);
    const first = ((step - 1) % this.#stepsPerEpoch) * batchSize;
    const order = Array.from(training.keys());
    if (shuffle) new SeededRandom(seed + epoch + 1).shuffle(order);
    return order.slice(first, first + batchSize).map((index, place) => {
      return { sequence: training[index]!, number: epoch * training.length + first + place };
    });
  }

  #isEvaluated(step: number): boolean {
    if (this.data.evaluation.length === 0) return false;
    return step % this.#evaluateEvery === 0 || step === this.#steps;
  }

  /** Mean loss of the samples kept apart. */
  async #evaluate(): Promise<number | undefined> {
    let sum = 0;
    for (const sequence of this.data.evaluation) {
      const one = await this.trainer.evaluate(sequence);
      if (one === undefined) return undefined;
      sum += one;
    }
    return sum / learnedTokens(this.data.evaluation);
  }

  /** Evaluations after a step. */
  #evaluations(): LossPoint[] {
    return this.#points.filter((point) => point.step > 0 && point.evaluationLoss !== undefined);
  }

  /** The step after which the samples kept apart were predicted best. */
  #best(): number | undefined {
    const evaluations = this.#evaluations();
    const least = Math.min(...evaluations.map(({ evaluationLoss }) => evaluationLoss!));
    return evaluations.find(({ evaluationLoss }) => evaluationLoss === least)?.step;
  }

  #evaluationsSinceBest(): number {
    const best = this.#best();
    return best === undefined ? 0 : this.#evaluations().filter(({ step }) => step > best).length;
  }

  async #saveCheckpoint(): Promise<void> {
    const progress = { step: this.#step, points: this.#points };
    await writeCheckpoint(this.settings.output, this.trainer, progress, this.#fingerprint);
  }

  async #saveAdapter(): Promise<void> {
    const { output } = this.settings;
    const parameters = this.trainer.read('parameters');
    await writeAdapter(output, this.slots, this.settings, parameters, this.model.name);
  }

  #result(reason: TrainResult['reason']): TrainResult {
    const { output } = this.settings;
    const evaluated = this.#points.filter(({ evaluationLoss }) => evaluationLoss !== undefined);
    const loss = this.#points.at(-1)?.loss;
    const [before] = evaluated;
    const after = evaluated.at(-1);
    return {
      output,
      reason,
      steps: this.#step,
      ...(loss !== undefined && { loss }),
      ...(before?.step === 0 && { evaluationBefore: evaluationOf(before.evaluationLoss!) }),
      ...(after !== undefined &&
        after.step > 0 && { evaluation: evaluationOf(after.evaluationLoss!) }),
    };
  }
}

function evaluationOf(loss: number): Evaluation {
  return { loss, perplexity: Math.exp(loss) };
}

/** How fast it goes, over the steps of this run. */
class Pace {
  readonly #start = performance.now();
  #steps = 0;
  #tokens = 0;

  add(tokens: number): void {
    this.#steps++;
    this.#tokens += tokens;
  }

  get #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }
  get tokensPerSecond(): number {
    return this.#tokens / this.#seconds;
  }
  get secondsPerStep(): number {
    return this.#seconds / this.#steps;
  }
}
