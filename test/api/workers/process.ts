/** A process of its own: runs one of the scenarios below, named by its argument, and exits by itself. */
import { join } from 'node:path';
import { Model, type TramontaneError } from '../../../lib';

const path = join(__dirname, '../../../models/breeze-Q4_0.gguf');

const scenarios: Record<string, () => Promise<void>> = {
  /** Idle models that nobody disposed of keep nothing alive. */
  async idle() {
    const models = [await Model.load(path), await Model.load(path)];
    await models[0]?.generate('Once', { maxTokens: 10 }).text();
  },
  /** A generation in flight keeps the process alive to its end, though nobody waits for it. */
  async inFlight() {
    const model = await Model.load(path);
    const generation = model.generate('Once', { maxTokens: 200, ignoreEos: true });
    void generation.result().then(({ usage }) => {
      console.log(`${String(usage.completionTokens)} tokens`);
    });
  },
  /** Leaving in the middle is no crash. */
  async exit() {
    const model = await Model.load(path);
    for await (const chunk of model.generate('Once', { maxTokens: 4000, ignoreEos: true })) {
      if (chunk.tokenIds.length > 0) process.exit(7);
    }
  },
  /** A failure nobody looks at is not an unhandled rejection. */
  async unobserved() {
    const model = await Model.load(path);
    model.generate('Once', { allowedTokens: [5], logitBias: new Map([[5, -Infinity]]) });
    await model.generate('Once', { maxTokens: 10 }).text();
  },
  /** Which kernels were chosen, or why none. */
  async implementation() {
    try {
      await using model = await Model.load(path);
      console.log(model.info.implementation);
    } catch (error) {
      const { code, message } = error as TramontaneError;
      console.log(`${code}: ${message}`);
    }
  },
  /** CPU time of an idle model over a second, in milliseconds. */
  async idleCpu() {
    const model = await Model.load(path);
    await model.generate('Once', { maxTokens: 50 }).text();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(before);
    console.log((user + system) / 1000);
    await model.dispose();
  },
};

void scenarios[process.argv[2] ?? '']?.();
