/**
 * Opens mutated headers: nothing but a TramontaneError may come out, and at once.
 *
 *   npm run script scripts/fuzz-headers.ts -- [--count 100000] [--seed 1]
 *
 * Prints how many cases ended with which code, and the rate. A case is a function of the seed and
 * its number, so a failure is run again with --seed S --only N.
 */
import './help';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { adaptable, type AdapterFile } from '../lib/adapters/adapter-file';
import { readGgufAdapter } from '../lib/adapters/gguf-adapter';
import { PEFT_TENSORS } from '../lib/adapters/peft';
import { readPeftAdapter } from '../lib/adapters/peft-adapter';
import { TramontaneError } from '../lib/errors';
import type { Checkpoint, FileRange } from '../lib/files/checkpoint';
import { FORMATS } from '../lib/files/formats';
import { readGguf } from '../lib/files/gguf/reader';
import { readGgufCheckpoint } from '../lib/files/gguf/checkpoint';
import { readHfCheckpoint } from '../lib/files/hf/checkpoint';
import { readMistralCheckpoint } from '../lib/files/mistral/checkpoint';
import { adapterContents, ADAPTED, buildAdapter } from '../test/adapters/builder';
import { GgufBuilder, modelGguf, PART_NAMES, splitGguf } from '../test/files/gguf-builder';
import { HfBuilder, TINY_HF } from '../test/files/hf-builder';
import { alone, MemoryFile, MemoryFolder, type Contents } from '../test/files/memory';
import { mistralContents } from '../test/files/mistral-builder';
import { fixture } from '../test/reference';

/** A number of 0 to `below` - 1. */
type Random = (below: number) => number;

/** SplitMix32: a different sequence for every seed. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return Math.floor((((x ^ (x >>> 15)) >>> 0) / 2 ** 32) * below);
  };
}

const EXTREMES = [
  0n,
  1n,
  2n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x1fffffffffffffn,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
];
const WORDS = ['{', '}', '[', ']', ',', ':', '"', '\\', '-1', '1e999', 'null', 'true', '"a"', '{}'];

type Mutation = (bytes: Buffer, random: Random) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  function flipBits(bytes, random) {
    for (let i = random(2) * random(8); i >= 0; i--) {
      const at = random(bytes.length);
      bytes[at] = bytes[at]! ^ (1 << random(8));
    }
    return bytes;
  },
  function setBytes(bytes, random) {
    for (let i = random(4); i >= 0; i--) bytes[random(bytes.length)] = random(256);
    return bytes;
  },
  function setU32(bytes, random) {
    const value = random(4) === 0 ? BigInt(random(2 ** 32)) : EXTREMES[random(EXTREMES.length)]!;
    if (bytes.length >= 4) {
      bytes.writeUInt32LE(Number(value & 0xffffffffn), random(bytes.length - 3));
    }
    return bytes;
  },
  function setU64(bytes, random) {
    const value = random(4) === 0 ? BigInt(random(2 ** 32)) : EXTREMES[random(EXTREMES.length)]!;
    if (bytes.length >= 8) bytes.writeBigUInt64LE(value, random(bytes.length - 7));
    return bytes;
  },
  function cut(bytes, random) {
    return bytes.subarray(0, random(bytes.length + 1));
  },
  function remove(bytes, random) {
    const start = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + 1 + random(32))]);
  },
  function splice(bytes, random) {
    const from = random(bytes.length);
    const piece = bytes.subarray(from, from + 1 + random(256));
    const to = random(bytes.length);
    const skipped = random(2) === 0 ? 0 : piece.length;
    return Buffer.concat([bytes.subarray(0, to), piece, bytes.subarray(to + skipped)]);
  },
  function replaceNumber(bytes, random) {
    const text = bytes.toString('latin1');
    const numbers = [...text.matchAll(/\d+/g)];
    const chosen = numbers[random(numbers.length)];
    if (chosen === undefined) return bytes;
    const value = EXTREMES[random(EXTREMES.length)]!;
    const end = chosen.index + chosen[0].length;
    return Buffer.from(`${text.slice(0, chosen.index)}${value}${text.slice(end)}`, 'latin1');
  },
  function setDigit(bytes, random) {
    const digits = [...bytes.keys()].filter((at) => bytes[at]! >= 0x30 && bytes[at]! <= 0x39);
    if (digits.length > 0) bytes[digits[random(digits.length)]!] = 0x30 + random(10);
    return bytes;
  },
  function swapNames(bytes, random) {
    // One quoted or printable word in place of another: keys, names, types of the wrong place.
    const words = [...bytes.toString('latin1').matchAll(/[A-Za-z_][\w.]{2,}/g)];
    const [from, to] = [words[random(words.length)], words[random(words.length)]];
    if (from === undefined || to === undefined) return bytes;
    const end = to.index + to[0].length;
    const word = Buffer.from(from[0], 'latin1');
    return Buffer.concat([bytes.subarray(0, to.index), word, bytes.subarray(end)]);
  },
  function insertWord(bytes, random) {
    const at = random(bytes.length + 1);
    const word = Buffer.from(WORDS[random(WORDS.length)]!);
    return Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at + random(3))]);
  },
];

function mutate(original: Buffer, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(original);
  // Mostly one, so that much of the header is still right and what reads it goes far.
  for (let i = random(4) === 0 ? 1 + random(3) : 0; i >= 0 && bytes.length > 0; i--) {
    bytes = MUTATIONS[random(MUTATIONS.length)]!(bytes, random);
  }
  return bytes;
}

/** Something to open, made anew for each case. */
type Target = (random: Random) => Promise<Checkpoint | AdapterFile>;

async function ggufTarget(path: string): Promise<Target> {
  const whole = readFileSync(path);
  const { tensors } = await readGguf(new MemoryFile(path, whole));
  const dataStart = Math.min(...[...tensors.values()].map(({ offset }) => offset));
  return ggufHeaderTarget(whole.subarray(0, dataStart), whole.length);
}

function ggufHeaderTarget(header: Buffer, byteLength: number): Target {
  return (random) => {
    const bytes = mutate(header, random);
    // Sometimes the file ends where the header does.
    const length = random(4) === 0 ? bytes.length : byteLength - header.length + bytes.length;
    return readGgufCheckpoint(new MemoryFile('fuzzed.gguf', bytes, length), 'fuzzed.gguf', alone);
  };
}

function hfTarget(builder: HfBuilder): Target {
  return folderTarget(builder.contents(), (folder) => readHfCheckpoint(folder, 'fuzzed'));
}

function mistralTarget(): Target {
  return folderTarget(mistralContents(), (folder) => readMistralCheckpoint(folder, 'fuzzed'));
}

/** A GGUF model in three files, one of which is mutated. */
function splitTarget(): Target {
  const files = splitGguf().map((part, i) => {
    const { header, byteLength } = part.build();
    return [PART_NAMES[i]!, { start: header, byteLength }] as const;
  });
  return async (random) => {
    const contents: Contents = Object.fromEntries(files);
    const [name, { start, byteLength }] = files[random(files.length)]!;
    const bytes = mutate(start, random);
    contents[name] = { start: bytes, byteLength: byteLength - start.length + bytes.length };
    const folder = new MemoryFolder(contents);
    const opened = await folder.open(PART_NAMES[random(files.length)]!);
    return readGgufCheckpoint(opened, 'fuzzed', () => folder);
  };
}

/** An adapter of PEFT with all that adapter_config.json may ask for. */
function peftTarget(): Target {
  const built = buildAdapter(4, 8, { dora: true });
  Object.assign(built.config, {
    target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    layers_to_transform: [0, 1],
    rank_pattern: { 'layers\\.0\\..*q_proj': 4 },
    alpha_pattern: { '(up|gate)_proj': 3, v_proj: 1 },
  });
  const { [PEFT_TENSORS]: start, ...config } = adapterContents(built);
  const contents = { ...config, [PEFT_TENSORS]: { start, byteLength: start.length } };
  return folderTarget(contents, async (folder) =>
    readPeftAdapter(folder, await folder.open(PEFT_TENSORS), ADAPTED),
  );
}

function ggufAdapterTarget(): Target {
  const gguf = new GgufBuilder()
    .set('general.architecture', 'string', 'llama')
    .set('general.type', 'string', 'adapter')
    .set('adapter.type', 'string', 'lora')
    .set('adapter.lora.alpha', 'f32', 16);
  for (const { gguf: name, rows, columns } of adaptable(ADAPTED)) {
    gguf.tensor(`${name}.lora_a`, 'Q8_0', [columns, 8]).tensor(`${name}.lora_b`, 'F16', [8, rows]);
  }
  const { header, byteLength } = gguf.build();
  return (random) => {
    const bytes = mutate(header, random);
    const length = byteLength - header.length + bytes.length;
    return readGgufAdapter(new MemoryFile('fuzzed.gguf', bytes, length), ADAPTED);
  };
}

function folderTarget(
  contents: Contents,
  open: (folder: MemoryFolder) => Promise<Checkpoint | AdapterFile>,
): Target {
  const names = Object.keys(contents).filter((name) => name !== 'tokenizer.model');
  return (random) => {
    const spoiled: Contents = { ...contents };
    for (let i = random(8) === 0 ? 1 : 0; i >= 0; i--) {
      // Headers of tensors are what matters most.
      const weights = names.filter((name) => name.endsWith('.safetensors'));
      const among = random(2) === 0 ? weights : names;
      const name = among[random(among.length)]!;
      const content = contents[name]!;
      if (typeof content === 'string' || Buffer.isBuffer(content)) {
        spoiled[name] = mutate(Buffer.from(content), random);
      } else {
        spoiled[name] = mutatedSafetensors(content, random);
      }
    }
    return open(new MemoryFolder(spoiled));
  };
}

/** Mutates the JSON and keeps the length before it right, but for one case in four. */
function mutatedSafetensors(
  { start, byteLength }: { start: Buffer; byteLength: number },
  random: Random,
): { start: Buffer; byteLength: number } {
  if (random(4) === 0) {
    const bytes = mutate(start, random);
    return { start: bytes, byteLength: byteLength - start.length + bytes.length };
  }
  const end = 8 + Number(start.readBigUInt64LE());
  const json = mutate(start.subarray(8, end), random);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const bytes = Buffer.concat([length, json, start.subarray(end)]);
  return { start: bytes, byteLength: byteLength - start.length + bytes.length };
}

async function targets(): Promise<Target[]> {
  const tiny = modelGguf().build();
  const mixed = new HfBuilder(TINY_HF, { bits: 4, groupSize: 32, actOrder: true });
  mixed.quantization()['dynamic'] = { '-:.*down.*': {}, '+:.*up.*': { bits: 4 } };
  const sharded = new HfBuilder();
  sharded.shards = (name) => (name.includes('mlp') ? 'b.safetensors' : 'a.safetensors');
  const oldStyle = new HfBuilder(TINY_HF, { bits: 8, groupSize: 16, quantized: () => true });
  oldStyle.files['quantize_config.json'] = JSON.stringify({
    ...oldStyle.quantization(),
    checkpoint_format: 'gptq_v2',
  });
  delete oldStyle.config['quantization_config'];
  oldStyle.shards = (name) => (name.includes('qweight') ? 'b.safetensors' : 'a.safetensors');
  return [
    ggufHeaderTarget(tiny.header, tiny.byteLength),
    await ggufTarget(fixture('gguf/swa-Q4_K_M.gguf')),
    hfTarget(new HfBuilder()),
    hfTarget(new HfBuilder(TINY_HF, { bits: 3, groupSize: -1 })),
    hfTarget(mixed),
    hfTarget(oldStyle),
    hfTarget(sharded),
    mistralTarget(),
    splitTarget(),
    peftTarget(),
    ggufAdapterTarget(),
  ];
}

/** What is wrong with an adapter that should not have been accepted. */
function adapterFlaw({ byteLength, pairs }: AdapterFile): string | undefined {
  const slots = new Map(adaptable(ADAPTED).map((slot) => [`${slot.layer} ${slot.role}`, slot]));
  for (const { role, layer, scale, down, up, magnitude } of pairs) {
    const slot = slots.get(`${layer} ${role}`);
    if (slot === undefined || !Number.isFinite(scale)) return `${role} ${layer}`;
    slots.delete(`${layer} ${role}`);
    const fits = down.columns === slot.columns && up.rows === slot.rows && down.rows === up.columns;
    if (!fits || down.rows < 1 || down.rows > 4096) return down.name;
    if (magnitude !== undefined && magnitude.rows !== slot.rows) return magnitude.name;
    for (const { name, format, rows, columns, range } of [down, up, magnitude ?? down]) {
      const { blockValues, blockBytes } = FORMATS[format];
      const wanted = (rows * columns * blockBytes) / blockValues;
      const end = range.offset + range.byteLength;
      if (range.byteLength !== wanted || range.offset < 8 || end > byteLength) return name;
    }
  }
  return pairs.length === 0 ? 'number of pairs' : undefined;
}

/** What is wrong with a checkpoint that should not have been accepted; undefined: nothing. */
function flaw(opened: Checkpoint | AdapterFile): string | undefined {
  if ('pairs' in opened) return adapterFlaw(opened);
  const { files, shape, weights, endTokens } = opened;
  const { layers, heads, kvHeads, headSize, vocabularySize } = shape;
  if (layers > 1024 || heads % kvHeads !== 0 || headSize % 8 !== 0) return 'shape';
  if (weights.length !== 9 * layers + 3) return 'number of weights';
  if (endTokens.some((id) => id < 0 || id >= vocabularySize)) return 'end tokens';
  const outside = ({ file, offset, byteLength }: FileRange): boolean =>
    !(offset >= 8 && byteLength > 0 && offset + byteLength <= (files[file]?.byteLength ?? 0));
  for (const { name, rows, columns, storage } of weights) {
    if (storage.format !== 'GPTQ') {
      const { blockValues, blockBytes } = FORMATS[storage.format];
      const byteLength = (rows * columns * blockBytes) / blockValues;
      if (outside(storage.range) || storage.range.byteLength !== byteLength) return name;
      continue;
    }
    const { bits, groupSize, qweight, qzeros, scales, groupIndex } = storage.gptq;
    const groups = Math.ceil(columns / groupSize);
    const lengths = [(columns * rows * bits) / 8, (groups * rows * bits) / 8];
    if (outside(qweight) || qweight.byteLength !== lengths[0]) return name;
    if (outside(qzeros) || qzeros.byteLength !== lengths[1]) return name;
    if (outside(scales) || scales.byteLength % (groups * rows) !== 0) return name;
    if (groupIndex !== undefined && groupIndex.byteLength !== 4 * columns) return name;
    const { orderedColumns: ordered = columns } = storage.gptq;
    if (ordered < columns || ordered >= columns + 32 * groups) return name;
    if (storage.gptq.orderedColumns !== undefined && ordered % 32 !== 0) return name;
  }
  return undefined;
}

const SLOW_MS = 1000;
const CODES = ['INVALID_FILE', 'UNSUPPORTED_FILE', 'FILE_NOT_READABLE'];

export interface FuzzResult {
  /** Cases by how they ended: a code, or `accepted`. */
  readonly tally: Readonly<Record<string, number>>;
  /** One line for each case that went wrong. */
  readonly failures: readonly string[];
  readonly slowest: { readonly ms: number; readonly number: number };
}

/** Runs cases `first` to `first + count - 1` of a seed. */
export async function fuzzHeaders(count: number, seed: number, first = 0): Promise<FuzzResult> {
  const all = await targets();
  const tally: Record<string, number> = {};
  const failures: string[] = [];
  let slowest = { ms: 0, number: first };
  for (let i = first; i < first + count; i++) {
    const { outcome, failure, elapsed } = await runCase(all, seed, i);
    tally[outcome] = (tally[outcome] ?? 0) + 1;
    if (failure !== undefined) failures.push(`case ${i}: ${failure}`);
    let fastest = elapsed;
    // Slow is what is slow each time; a busy machine makes anything slow once.
    for (let j = 0; j < 3 && fastest > SLOW_MS; j++) {
      fastest = Math.min(fastest, (await runCase(all, seed, i)).elapsed);
    }
    if (fastest > SLOW_MS) failures.push(`case ${i}: took ${fastest.toFixed()} ms`);
    if (fastest > slowest.ms) slowest = { ms: fastest, number: i };
  }
  return { tally, failures, slowest };
}

async function runCase(
  all: readonly Target[],
  seed: number,
  number: number,
): Promise<{ outcome: string; failure?: string; elapsed: number }> {
  const random = randomFrom(Math.imul(seed, 0x9e3779b1) ^ number);
  const target = all[random(all.length)]!;
  const start = performance.now();
  const end = await ending(target, random);
  return { ...end, elapsed: performance.now() - start };
}

async function ending(
  target: Target,
  random: Random,
): Promise<{ outcome: string; failure?: string }> {
  try {
    const wrong = flaw(await target(random));
    if (wrong === undefined) return { outcome: 'accepted' };
    return { outcome: 'accepted', failure: `accepted with a wrong ${wrong}` };
  } catch (error) {
    if (!(error instanceof TramontaneError)) {
      const failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { outcome: 'another error', failure };
    }
    const { code, message } = error;
    const isFine = CODES.includes(code) && /fuzzed|memory/.test(message) && message.length < 1000;
    return { outcome: code, ...(isFine ? {} : { failure: `${code}: ${message}` }) };
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
    },
  });
  const seed = Number(values.seed);
  const count = values.only === undefined ? Number(values.count) : 1;
  const start = performance.now();
  const { tally, failures, slowest } = await fuzzHeaders(count, seed, Number(values.only ?? 0));
  const seconds = (performance.now() - start) / 1000;
  for (const failure of failures) console.log(failure);
  console.log(`${count} cases of seed ${seed}:`, tally);
  const rate = (count / seconds).toFixed();
  const slow = `the slowest, case ${slowest.number}, took ${slowest.ms.toFixed(1)} ms`;
  console.log(`${rate} a second; ${slow}; ${failures.length} failures`);
  if (failures.length > 0) process.exitCode = 1;
}

if (require.main === module) void main();
