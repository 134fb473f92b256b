/**
 * The same logits and the same drawn tokens, to the bit, whichever kernels compute them. What they
 * are is compared between implementations alone: other tests say what they have to be.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describeWithReference, fixture } from '../reference';
import { implementationsIn } from './implementations';

function run(path: string, implementation: string): { stdout: string; stderr: string } {
  const typescript = join(__dirname, '../../scripts/typescript.js');
  const script = join(__dirname, 'workers/results.ts');
  return spawnSync(process.execPath, ['-r', typescript, script, path], {
    encoding: 'utf8',
    timeout: 150_000,
    env: { ...process.env, TRAMONTANE_CPU: implementation },
  });
}

const breeze = join(__dirname, '../../models/breeze-Q4_0.gguf');
/** All that this processor has. */
const implementations = implementationsIn(run(breeze, 'none').stderr);

function expectOneResult(path: string): void {
  const all = implementations.map((implementation) => {
    const { stdout, stderr } = run(path, implementation);
    expect(stderr).toBe('');
    const [, name, results] = /^(\S+) ([0-9a-f]{64} \d+\.\d+)$/.exec(stdout.trim())!;
    expect(name).toBe(implementation);
    return results;
  });
  expect(all).toEqual(implementations.map(() => all[0]));
}

test('there are implementations to compare', () => {
  expect(implementations).toContain('scalar');
  expect(implementations.length).toBeGreaterThan(1);
});

test.each([
  ['the embedded model', breeze],
  ['Q4_K_M', fixture('gguf/swa-Q4_K_M.gguf')],
  ['GPTQ with act-order', fixture('gptq/swa-gptq-b4-g128-actorder')],
])('%s', (_, path) => {
  expectOneResult(path);
});

describeWithReference('models of the reference folder', (directory) => {
  test.each(['Q6_K', 'Q8_0', 'F16'])('%s', (format) => {
    expectOneResult(join(directory, `gguf/swa-${format}.gguf`));
  });
  test('SmolLM2', () => {
    expectOneResult(join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'));
  });
});
