/** A process of its own: runs one of the scenarios below, named by its argument, and exits by itself. */
import { readFileSync } from 'node:fs';
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
  /** Models that are let go of: how many mappings of their file there are before and after. */
  async collected() {
    const mapped = (): number =>
      readFileSync('/proc/self/maps', 'utf8').split('breeze-Q4_0.gguf').length - 1;
    const before = await (async () => {
      const models: Model[] = [];
      for (let i = 0; i < 3; i++) {
        const model = await Model.load(path);
        await model.generate('Once', { maxTokens: 3 }).text();
        models.push(model);
      }
      return mapped();
    })();
    for (let i = 0; i < 50 && mapped() > 0; i++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    console.log(`mapped ${String(before)}, then ${String(mapped())}`);
  },
};

void scenarios[process.argv[2] ?? '']?.();
