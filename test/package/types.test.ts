/** The types as a user’s compiler sees them: of the packed package, strict, with nothing beside. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installWithoutScripts, pack, type Packed } from './packed';
import { provide } from './provide';

const root = join(__dirname, '../..');

const newest = provide('typescript@7.0.2', 'tsc');

let packed: Packed;

beforeAll(() => {
  packed = pack();
  installWithoutScripts(packed, packed.folder);
  writeFileSync(join(packed.folder, 'package.json'), '{"private":true}');
}, 120_000);

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

const STRICT = [
  ...['--strict', '--noEmit', '--skipLibCheck', 'false'],
  ...['--module', 'nodenext', '--target', 'es2022'],
];

describe.each([
  ['5', join(root, 'node_modules/typescript/bin/tsc')],
  ['7', newest && join(newest, 'tsc')],
])('TypeScript %s', (_, compiler) => {
  const usable = compiler === undefined ? test.skip : test;

  /** What the compiler says of a program. */
  function compile(program: string, ...options: readonly string[]): string {
    writeFileSync(join(packed.folder, 'program.ts'), program);
    const { stdout, stderr } = spawnSync(compiler!, [...STRICT, ...options, 'program.ts'], {
      cwd: packed.folder,
      encoding: 'utf8',
    });
    return stdout + stderr;
  }

  usable('nothing but the language: no types of Node, no disposables', () => {
    const program = `
      import { Model, TramontaneError, inspect, loadTokenizer } from 'tramontane';
      import type { GenerateOptions, Generation, ModelInfo, Tokenizer } from 'tramontane';
      export async function main(): Promise<string> {
        const model: Model = await Model.load('x.gguf', { slidingWindow: false, threads: 2 });
        const options: GenerateOptions = { logitBias: new Map([[1, 2]]), stop: ['x'] };
        const generation: Generation = model.generate([1, 2], options);
        for await (const { text, tokenIds, logprobs } of generation) {
          const id: number | undefined = logprobs?.[0]?.top[0]?.token ?? tokenIds[0];
          if (text === String(id)) break;
        }
        const { finishReason } = await generation.result();
        // @ts-expect-error a misspelt option
        model.generate('x', { maxToken: 1 });
        const code: 'INVALID_FILE' extends TramontaneError['code'] ? true : never = true;
        const info: ModelInfo = model.info;
        const tokenizer: Tokenizer = await loadTokenizer('x.gguf');
        await model.dispose();
        const ids: number[] = tokenizer.encode(info.path, { bos: code });
        return finishReason === 'stop' ? (await inspect('x.gguf')).path : ids.join();
      }`;
    expect(compile(program, '--exactOptionalPropertyTypes')).toBe('');
  });

  usable('with disposables, a model can be disposed by its block', () => {
    const program = `
      import { Model } from 'tramontane';
      export async function main(): Promise<number> {
        await using model: Model = await Model.load('x.gguf');
        return model.info.layers;
      }`;
    expect(compile(program, '--lib', 'es2023,dom,esnext.disposable')).toBe('');
  });

  usable('with the types of Node', () => {
    const program = `
      import { Model } from 'tramontane';
      export const model: Promise<Model> = Model.load(process.argv[2]!, {
        signal: AbortSignal.timeout(1000),
      });`;
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
    expect(compile(program, ...types)).toBe('');
  });
});
