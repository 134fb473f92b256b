/**
 * One arithmetic on every processor: the hash of logits and drawn tokens of several models
 * (test/api/workers/results.ts) by the addon here and by that for Linux on arm64 under qemu, each on
 * all implementations it has, the best first. Fails where two differ.
 *   npm run test:one-arithmetic
 * Needs what `npm run prebuild -- --only linux-arm64-glibc` has made, and needs; and the reference
 * folder of the tests, without which only the embedded model is compared.
 */
import './help';
import { transformFileSync } from '@swc/core';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { implementationsIn } from '../test/api/implementations';
import { referenceDir } from '../test/reference';
import { hostTarget, prebuiltFile, TARGETS, type Target } from './prebuild/targets';
import { wayOf } from './prebuild/try';

const root = join(__dirname, '..');

interface Model {
  readonly path: string;
  /** Drawn, by each of two ways to sample. */
  readonly maxTokens: number;
}

const MODELS: readonly Model[] = [
  { path: join(root, 'models/breeze-Q4_0.gguf'), maxTokens: 60 },
  ...(referenceDir === undefined
    ? []
    : [
        ...['Q4_K_M', 'Q6_K', 'Q8_0', 'F16'].map((format) => ({
          path: join(referenceDir!, `gguf/swa-${format}.gguf`),
          maxTokens: 60,
        })),
        // Larger, and slow on processors that are emulated.
        { path: join(referenceDir, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'), maxTokens: 8 },
      ]),
];

interface System {
  /** What computes, for the table. */
  readonly how: string;
  readonly implementations: readonly string[];
  /** @returns the hash, in hexadecimal digits */
  hash(model: Model, implementation: string): string;
}

function run(command: readonly string[], environment: NodeJS.ProcessEnv, implementation: string) {
  const [program = '', ...args] = command;
  const env = { ...process.env, ...environment, TRAMONTANE_CPU: implementation };
  return spawnSync(program, args, { cwd: root, env, encoding: 'utf8' });
}

/** Node for `target` with its addon; on this system the one that was compiled here. */
function nodeSystem(target: Target): System {
  const way = wayOf(target);
  if (typeof way === 'string') throw new Error(way);
  const isHere = way.command[0] === process.execPath;
  if (!isHere && !existsSync(join(root, prebuiltFile(target)))) {
    throw new Error(`npm run prebuild -- --only ${target.name} has not been run`);
  }
  const environment = {
    ...way.environment,
    ...(isHere ? {} : { PREBUILDS_ONLY: '1', QEMU_CPU: 'max' }),
  };
  const results = (model: Model, implementation: string) =>
    run(
      [...way.command, compiledWorker(), model.path, String(model.maxTokens)],
      environment,
      implementation,
    );
  return {
    how: way.how,
    implementations: implementationsIn(results(MODELS[0]!, 'none').stderr),
    hash(model, implementation) {
      const what = `${way.how}, ${implementation}, ${model.path}`;
      const { stdout, stderr } = results(model, implementation);
      if (stderr !== '') throw new Error(`${what}: ${stderr}`);
      const [name, hash] = stdout.split(' ');
      if (name !== implementation) throw new Error(`${what}: computed by ${stdout}`);
      return hash!;
    },
  };
}

/** results.ts as JavaScript over dist/, which needs none of this repository's tools. */
function compiledWorker(): string {
  const { code } = transformFileSync(join(root, 'test/api/workers/results.ts'), {
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
    swcrc: false,
  });
  const name = 'build-prebuild/results.js';
  mkdirSync(join(root, 'build-prebuild'), { recursive: true });
  writeFileSync(join(root, name), code.replace('../../../lib', '../dist'));
  return name;
}

function main(): void {
  const arm = TARGETS.find(({ name }) => name === 'linux-arm64-glibc');
  const systems = [hostTarget(), arm].map((target) => nodeSystem(target!));
  const hashes = MODELS.map(() => new Set<string>());
  for (const system of systems) {
    for (const implementation of system.implementations) {
      const short = MODELS.map((model, i) => {
        const hash = system.hash(model, implementation);
        hashes[i]!.add(hash);
        return hash.slice(0, 8);
      });
      console.log(`${implementation.padEnd(12)} ${short.join(' ')}  ${system.how}`);
    }
  }
  const differing = MODELS.filter((_, i) => hashes[i]!.size > 1);
  for (const { path } of differing) console.error(`not one result: ${path}`);
  if (differing.length > 0) process.exitCode = 1;
  else console.log('one result of each model');
}

try {
  main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
