/**
 * What low-rank adapters cost: loads some of random numbers for a model, and compares tokens a second
 * with them and without, in turns.
 *   npm run script scripts/bench-adapters.ts -- MODEL [--rank 16] [--format F16] [--rounds 5]
 */
import './help';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { adaptable } from '../lib/adapters/adapter-file';
import { PEFT_CONFIG, PEFT_TENSORS, peftTensor } from '../lib/adapters/peft';
import { openCheckpoint } from '../lib/files/open';
import { Model, type Adapter } from '../lib/index';

const USERS = 8;
const TOKENS = 32;

/** A directory with pairs for all linear layers. */
async function synthesizeAdapter(directory: string, model: string, rank: number, bytesEach: 2 | 4) {
  const { shape } = await openCheckpoint(model);
  const header: Record<string, unknown> = {};
  let end = 0;
  const modules = new Set<string>();
  for (const { module, rows, columns } of adaptable(shape)) {
    modules.add(module.replace(/^.*\./, ''));
    for (const [part, size] of [
      ['lora_A', [rank, columns]],
      ['lora_B', [rows, rank]],
    ] as const) {
      const bytes = size[0] * size[1] * bytesEach;
      const dtype = bytesEach === 2 ? 'F16' : 'F32';
      header[peftTensor(module, part)] = { dtype, shape: size, data_offsets: [end, end + bytes] };
      end += bytes;
    }
  }
  mkdirSync(directory, { recursive: true });
  const config = { peft_type: 'LORA', r: rank, lora_alpha: rank, target_modules: [...modules] };
  writeFileSync(join(directory, PEFT_CONFIG), JSON.stringify(config));
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = openSync(join(directory, PEFT_TENSORS), 'w');
  writeSync(file, Buffer.concat([length, json]));
  const values = Buffer.alloc(1 << 20);
  for (let done = 0; done < end; done += values.length) {
    for (let i = 0; i < values.length; i += bytesEach) {
      // Small numbers of either sign.
      const sign = Math.random() < 0.5 ? 0x8000 : 0;
      if (bytesEach === 2)
        values.writeUInt16LE(sign | (0x1c00 + Math.floor(Math.random() * 2048)), i);
      else values.writeFloatLE((Math.random() - 0.5) / 50, i);
    }
    writeSync(file, values, 0, Math.min(values.length, end - done));
  }
  closeSync(file);
  return end;
}

/** Tokens a second of `users` generations at once, of which each may have an adapter. */
async function speed(model: Model, users: number, adapters: readonly Adapter[]): Promise<number> {
  const options = { maxTokens: TOKENS, ignoreEos: true, temperature: 0 };
  const generations = Array.from({ length: users }, (_, i) =>
    model.generate([1, 5 + i], { ...options, adapter: adapters[i % Math.max(1, adapters.length)] }),
  );
  const start = performance.now();
  await Promise.all(generations.map((generation) => generation.result()));
  return (1000 * users * TOKENS) / (performance.now() - start);
}

function range(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): string => sorted[Math.round(part * (sorted.length - 1))]!.toFixed(2);
  return `${at(0.5)} (${at(0)} to ${at(1)})`;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rank: { type: 'string', default: '16' },
      format: { type: 'string', default: 'F16' },
      rounds: { type: 'string', default: '5' },
    },
  });
  const [path = ''] = positionals;
  const directory = mkdtempSync(join(tmpdir(), 'tramontane-bench-'));
  try {
    const bytes = await synthesizeAdapter(
      directory,
      path,
      Number(values.rank),
      values.format === 'F16' ? 2 : 4,
    );
    await using model = await Model.load(path, { backend: 'cpu', preload: true });
    const times: number[] = [];
    const adapters: Adapter[] = [];
    for (let i = 0; i < USERS; i++) {
      const start = performance.now();
      adapters.push(await model.loadAdapter(directory));
      times.push(performance.now() - start);
    }
    console.log(`load of ${(bytes / 1e6).toFixed(1)} MB: ${range(times)} ms`);
    for (const users of [1, USERS]) {
      const [plain, one, each]: [number[], number[], number[]] = [[], [], []];
      await speed(model, users, []);
      await speed(model, users, adapters);
      for (let round = 0; round < Number(values.rounds); round++) {
        plain.push(await speed(model, users, []));
        one.push(await speed(model, users, [adapters[0]!]));
        if (users > 1) each.push(await speed(model, users, adapters));
      }
      const part = (found: number[]): string => {
        return `${range(found.map((value, i) => (100 * value) / plain[i]!))}% of that`;
      };
      console.log(`${users} rows of the model: ${range(plain)} tokens/s`);
      console.log(`${users} rows of one adapter: ${range(one)} tokens/s, ${part(one)}`);
      if (users > 1)
        console.log(`${users} rows of as many: ${range(each)} tokens/s, ${part(each)}`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

void main();
