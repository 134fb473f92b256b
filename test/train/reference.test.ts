/** The trace of a training by other programs (peft, torch), in f32: losses and the last adapter. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model } from '../../lib';
import { writePeftConfig } from '../../lib/adapters/peft';
import { describeWithReference } from '../reference';
import { readTensors } from './tensors';

/** A weight moves by up to the learning rate in each step, 0.2 in all; measured: 2e-5 apart. */
const TOLERANCE = 1e-4;

interface Trace {
  readonly data: readonly (readonly number[])[];
  readonly losses: readonly number[];
}

describeWithReference('a training by other programs', (reference) => {
  const given = join(reference, 'adapters/train');
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tramontane-train-'));
    await mkdir(join(directory, 'initial'));
    await copyFile(
      join(given, 'initial.safetensors'),
      join(directory, 'initial/adapter_model.safetensors'),
    );
    const config = { rank: 4, alpha: 8, rslora: false, dora: false };
    await writeFile(
      join(directory, 'initial/adapter_config.json'),
      writePeftConfig({ ...config, targetModules: ['q_proj', 'v_proj'] }),
    );
  });
  afterAll(() => rm(directory, { recursive: true }));

  // GGUF has the rows of q and k in another order than the adapter's file.
  test.each(['hf/swa', 'gguf/swa-BF16.gguf'])(
    '%s: the same losses, the same adapter',
    async (name) => {
      const { data, losses } = JSON.parse(
        await readFile(join(given, 'trace.json'), 'utf8'),
      ) as Trace;
      const found: number[] = [];
      const output = join(directory, 'output');
      const model = await Model.load(join(reference, name), { compute: 'f32' });
      try {
        await model.train(
          data.map((tokens) => ({ tokens })),
          {
            output,
            adapter: join(directory, 'initial'),
            rank: 4,
            alpha: 8,
            targets: ['q_proj', 'v_proj'],
            sequenceLength: 64,
            packing: false,
            shuffle: false,
            batchSize: 2,
            steps: losses.length,
            learningRate: 1e-2,
            schedule: 'constant',
            warmupSteps: 0,
            maxGradientNorm: 0,
            onStep: ({ loss }) => found.push(loss),
          },
        );
      } finally {
        await model.dispose();
      }
      expect(found).toHaveLength(losses.length);
      found.forEach((loss, step) => {
        expect(Math.abs(loss - losses[step]!)).toBeLessThan(1e-3);
      });
      const ours = await readTensors(join(output, 'adapter_model.safetensors'));
      const theirs = await readTensors(join(given, 'final.safetensors'));
      expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
      for (const [tensor, values] of theirs) {
        const others = ours.get(tensor)!;
        expect(others).toHaveLength(values.length);
        const apart = Math.max(...values.map((x, i) => Math.abs(x - others[i]!)));
        expect(apart).toBeLessThan(TOLERANCE);
      }
    },
  );
});
