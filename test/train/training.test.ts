/** The embedded model is trained: what it learns, what is kept, and how a training goes on. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Model,
  type Adapter,
  type LoadOptions,
  type TrainingStep,
  type TrainOptions,
} from '../../lib';
import { writeSafetensors } from '../../lib/train/adapter-file';
import { fixture } from '../reference';
import { reports } from './style';
import { readTensors } from './tensors';

const MODEL = join(__dirname, '../../models/breeze-Q4_0.gguf');

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tramontane-training-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function train(
  name: string,
  options: Partial<TrainOptions>,
  { samples = reports(24, 1), load = {} }: { samples?: unknown; load?: LoadOptions } = {},
) {
  const output = join(directory, name);
  await using model = await Model.load(MODEL, load);
  const result = await model.train(samples as never, {
    output,
    rank: 2,
    targets: ['v_proj', 'down_proj'],
    batchSize: 1,
    dropout: 0.1,
    ...options,
  });
  return { result, output };
}

const bytesOf = (output: string) => readFile(join(output, 'adapter_model.safetensors'));

test('a new style is learned of 200 samples: perplexity of others falls to less than a 50th', async () => {
  const { result, output } = await train(
    'style',
    {
      rank: 8,
      targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
      dropout: 0,
      batchSize: 2,
      epochs: 1,
      learningRate: 1e-2,
      evaluation: reports(30, 2),
    },
    { samples: reports(200, 1) },
  );
  const { evaluationBefore, evaluation, reason } = result;
  expect(reason).toBe('finished');
  // Measured: 330 and 1.3.
  expect(evaluation!.perplexity).toBeLessThan(evaluationBefore!.perplexity / 50);
  const config = JSON.parse(await readFile(join(output, 'adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({ peft_type: 'LORA', r: 8, lora_alpha: 16, bias: 'none' });
  expect(await readFile(join(output, 'losses.svg'), 'utf8')).toContain('kept apart');
});

describe('the loss of training is that of inference, before it and with the adapter that comes of it', () => {
  test.each([
    ['a GGUF file', MODEL],
    ['a file with pairs of rows side by side and several formats', fixture('gguf/swa-Q4_K_M.gguf')],
    ['GPTQ with act-order', fixture('gptq/swa-gptq-b4-g128-actorder')],
  ])('%s', async (name, path) => {
    const output = join(directory, `round-${name.slice(2, 6)}`);
    await using model = await Model.load(path, { compute: 'f32', kvCacheType: 'f32' });
    const { vocabularySize } = model.info;
    // Longer than the window of the GPTQ and GGUF models, 48, and of 64 of the embedded one.
    const samples = Array.from({ length: 4 }, (_, row) => ({
      tokens: Array.from({ length: 100 }, (_, i) => (i * i * 7 + row * 31 + i) % vocabularySize),
    }));
    const inferred = async (adapter?: Adapter) => {
      let sum = 0;
      for (const { tokens } of samples) {
        const positions = tokens.slice(1).map((_, i) => i);
        const logits = await model.logits(tokens, { positions, adapter });
        positions.forEach((at) => {
          const row = logits.subarray(at * vocabularySize, (at + 1) * vocabularySize);
          const total = row.reduce((all, logit) => all + Math.exp(logit), 0);
          sum += Math.log(total) - row[tokens[at + 1]!]!;
        });
      }
      return sum / (samples.length * 99);
    };
    const { evaluationBefore, evaluation } = await model.train(samples, {
      output,
      rank: 4,
      steps: 4,
      learningRate: 1e-2,
      evaluation: samples,
    });
    expect(Math.abs(evaluationBefore!.loss - (await inferred()))).toBeLessThan(1e-4);
    using adapter = await model.loadAdapter(output);
    expect(evaluation!.loss).toBeLessThan(evaluationBefore!.loss - 0.05);
    expect(Math.abs(evaluation!.loss - (await inferred(adapter)))).toBeLessThan(1e-4);
  });
});

describe('a training that is interrupted', () => {
  const STEPS = 5;
  const options = { steps: STEPS, sequenceLength: 128, evaluation: 0.2, evaluateEvery: 2 };
  let whole: { output: string; steps: TrainingStep[] };

  beforeAll(async () => {
    const steps: TrainingStep[] = [];
    const { output } = await train('whole', { ...options, onStep: (step) => steps.push(step) });
    whole = { output, steps };
  });

  test('has an adapter with numbers, losses, and no checkpoint left when it is done', async () => {
    const tensors = await readTensors(join(whole.output, 'adapter_model.safetensors'));
    expect(tensors.size).toBe(6 * 2 * 2);
    for (const values of tensors.values()) expect(values.some((x) => x !== 0)).toBe(true);
    expect(existsSync(join(whole.output, 'checkpoint.safetensors'))).toBe(false);
    const losses = (await readFile(join(whole.output, 'losses.jsonl'), 'utf8')).trim().split('\n');
    expect(losses.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual(
      Array.from({ length: STEPS + 1 }, (_, step) => step),
    );
    expect(whole.steps.filter(({ evaluation }) => evaluation).map(({ step }) => step)).toEqual([
      2, 4, 5,
    ]);
  });

  test.each(Array.from({ length: STEPS - 1 }, (_, i) => i + 1))(
    'goes on after step %i as if nothing had happened, to the bit',
    async (last) => {
      const controller = new AbortController();
      const name = `interrupted-${last}`;
      const { result, output } = await train(name, {
        ...options,
        signal: controller.signal,
        onStep: ({ step }) => {
          if (step === last) controller.abort();
        },
      });
      expect(result).toMatchObject({ reason: 'aborted', steps: last });
      expect(existsSync(join(output, 'adapter_model.safetensors'))).toBe(true);
      const seen: number[] = [];
      const again = await train(name, {
        ...options,
        resume: true,
        onStep: ({ step }) => seen.push(step),
      });
      expect(again.result).toMatchObject({ reason: 'finished', steps: STEPS });
      expect(seen[0]).toBe(last + 1);
      expect(await bytesOf(output)).toEqual(await bytesOf(whole.output));
      expect(await readFile(join(output, 'losses.jsonl'))).toEqual(
        await readFile(join(whole.output, 'losses.jsonl')),
      );
    },
  );

  test('keeps what there is when it is ended amidst a step', async () => {
    const controller = new AbortController();
    const { result, output } = await train('amidst', {
      ...options,
      steps: 1000,
      signal: controller.signal,
      onStep: ({ step }) => {
        if (step === 2) setTimeout(() => controller.abort(), 20);
      },
    });
    expect(result.reason).toBe('aborted');
    expect(result.steps).toBeGreaterThanOrEqual(2);
    expect(result.steps).toBeLessThan(1000);
    await readTensors(join(output, 'adapter_model.safetensors'));
  });

  test('is not taken for one with other options or data', async () => {
    const controller = new AbortController();
    await train('other', {
      ...options,
      signal: controller.signal,
      onStep: () => {
        controller.abort();
      },
    });
    for (const change of [{ seed: 1 }, { learningRate: 1e-3 }, { sequenceLength: 100 }]) {
      await expect(train('other', { ...options, ...change, resume: true })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
    }
    await expect(
      train('other', { ...options, resume: true }, { samples: reports(24, 3) }),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});

test('the adapter is the same to the bit on one thread, two and three, in int8 and in f32', async () => {
  for (const compute of ['int8', 'f32'] as const) {
    const adapters: Buffer[] = [];
    for (const threads of [1, 2, 3]) {
      const load = { threads, compute };
      const { output } = await train('threads', { steps: 2 }, { load });
      adapters.push(await bytesOf(output));
    }
    expect(adapters[1]).toEqual(adapters[0]);
    expect(adapters[2]).toEqual(adapters[0]);
  }
});

test('with patience it stops early, and the adapter is that of the best evaluation', async () => {
  // Samples of another kind are predicted the worse, the better these are learned.
  const others = reports(6, 9).map((_, i) => ({ text: `Once upon a time there was a dog. ${i}` }));
  const options = { learningRate: 3e-2, evaluation: others, evaluateEvery: 1, rank: 4 };
  const evaluations: number[] = [];
  const early = await train('early', {
    ...options,
    steps: 60,
    patience: 2,
    schedule: 'constant',
    warmupSteps: 0,
    onStep: ({ evaluation }) => evaluations.push(evaluation!.loss),
  });
  expect(early.result.reason).toBe('early');
  const best = evaluations.indexOf(Math.min(...evaluations)) + 1;
  expect(early.result.steps).toBe(best + 2);
  const upToBest = await train('best', {
    ...options,
    steps: best,
    schedule: 'constant',
    warmupSteps: 0,
  });
  expect(await bytesOf(early.output)).toEqual(await bytesOf(upToBest.output));
});

test('the learning rate rises and falls as the schedule says', async () => {
  const rates = async (options: Partial<TrainOptions>) => {
    const found: number[] = [];
    await train('rates', {
      steps: 6,
      warmupSteps: 2,
      learningRate: 1,
      ...options,
      maxGradientNorm: 1e-9,
      sequenceLength: 128,
      onStep: ({ learningRate }) => found.push(learningRate),
    });
    return found;
  };
  expect(await rates({ schedule: 'constant' })).toEqual([0.5, 1, 1, 1, 1, 1]);
  expect(await rates({ schedule: 'linear' })).toEqual([0.5, 1, 1, 0.75, 0.5, 0.25]);
  const cosine = await rates({ schedule: 'cosine' });
  [0.5, 1, 1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2].forEach((rate, i) => {
    expect(cosine[i]).toBeCloseTo(rate, 10);
  });
});

test('a loss that is no number ends the training and says so', async () => {
  const { output } = await train('huge', { steps: 1 });
  const path = join(output, 'adapter_model.safetensors');
  const tensors = Array.from(await readTensors(path), ([name, values]) => ({
    name,
    shape: name.includes('lora_A') ? [2, values.length / 2] : [values.length / 2, 2],
    values: values.fill(1e30),
  }));
  await writeSafetensors(path, tensors, {});
  await expect(train('diverged', { steps: 1, adapter: output })).rejects.toMatchObject({
    code: 'COMPUTE_FAILED',
    message: expect.stringMatching(/^step 1: the loss is/) as unknown,
  });
});

test('the model answers while it is trained, and may be disposed of', async () => {
  const model = await Model.load(MODEL);
  const training = model.train(reports(24, 1), {
    output: join(directory, 'beside'),
    rank: 2,
    steps: 3,
    batchSize: 1,
  });
  const { text } = await model
    .generate('Once upon a time', { maxTokens: 8, temperature: 0 })
    .result();
  expect(text).not.toBe('');
  await model.dispose();
  expect((await training).reason).toBe('finished');
  await expect(model.train(reports(1, 1), { output: 'nowhere' })).rejects.toMatchObject({
    code: 'DISPOSED',
  });
});
