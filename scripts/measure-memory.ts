/**
 * Compares estimateMemory() with what processes take: ten ways to load a model, each in a process of
 * its own whose conversations are as long as they may be.
 *   npm run script scripts/measure-memory.ts -- MODEL [GPTQ_MODEL]
 * MODEL has 4 or more layers of the 7B shape, as `npm run synthesize-model` makes them: of smaller
 * ones Node itself is the larger part.
 */
import './help';
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { estimateMemory, Model, type MemoryOptions } from '../lib';
import { native } from '../lib/model/native';

const CONFIGURATIONS: readonly MemoryOptions[] = [
  { contextSize: 512 },
  { contextSize: 512, users: 8 },
  { contextSize: 2048 },
  { contextSize: 2048, users: 3 },
  { contextSize: 4096 },
  { contextSize: 2048, users: 2, kvCacheType: 'f32' },
  { contextSize: 1024, mapping: 'read' },
  { contextSize: 1024, mapping: 'private' },
  { contextSize: 4096, slidingWindow: 1024 },
  { contextSize: 1024, users: 2, threads: 1 },
];

function resident(): number {
  global.gc!();
  return process.memoryUsage().rss;
}

/** In a process of its own: bytes that the model takes. */
async function measure(path: string, { users = 1, ...options }: MemoryOptions): Promise<number> {
  native();
  const before = resident();
  const kvCacheTokens = users * (options.contextSize! + 32);
  const model = await Model.load(path, { ...options, kvCacheTokens, backend: 'cpu' });
  const length = options.contextSize! - 8;
  const pieces = model.info.vocabularySize - 1000;
  const generations = Array.from({ length: users }, (_, user) => {
    const prompt = Int32Array.from(
      { length },
      (__, i) => 500 + ((i * 7919 + user * 104_729) % pieces),
    );
    return model.generate(prompt, { maxTokens: 8, ignoreEos: true }).result();
  });
  await Promise.all(generations);
  const taken = resident() - before;
  await model.dispose();
  return taken;
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { child: { type: 'string' } },
  });
  const [path, gptq] = positionals;
  if (path === undefined) throw new Error('a model is missing; see --help');
  if (values.child !== undefined) {
    console.log(await measure(path, JSON.parse(values.child) as MemoryOptions));
    return;
  }
  const cases = CONFIGURATIONS.map((options): [string, MemoryOptions] => [path, options]);
  if (gptq !== undefined) cases.push([gptq, { contextSize: 1024 }]);
  console.log('| options | estimated | measured | |\n| --- | --- | --- | --- |');
  for (const [model, options] of cases) {
    const { total } = await estimateMemory(model, options);
    const child = ['--expose-gc', '-r', './scripts/typescript.js', __filename];
    const text = execFileSync(process.execPath, [
      ...child,
      ...['--child', JSON.stringify(options), model],
    ]);
    const taken = Number(text.toString());
    const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
    const difference = `${((total / taken - 1) * 100).toFixed(1)}%`;
    const name = `${model === gptq ? 'GPTQ ' : ''}${JSON.stringify(options)}`;
    console.log(`| ${name} | ${megabytes(total)} | ${megabytes(taken)} | ${difference} |`);
  }
}

void main();
