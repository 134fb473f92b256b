/**
 * Gives random input to what reads what users write: schemas, regular expressions, GBNF, messages and
 * chat templates. Stops at the first that throws anything but a TramontaneError, takes more than a
 * second, or needs more than 64 MB of heap.
 *
 *   npm run script scripts/fuzz-grammars.ts [-- COUNT [SEED [KIND...]]]
 *
 * KIND is grammars (expressions and GBNF), schemas, messages or templates; without any all take turns.
 * The inputs of a seed are the same each time, and the number of a bad one is printed with it.
 * Inputs are read in a thread whose heap has room for its tables and 64 MB more. Needs the reference
 * folder's tokenizers for messages and templates.
 */
import './help';
import { join, resolve } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { loadTokenizer } from '../lib/tokenizer/load';
import type { Tokenizer } from '../lib/tokenizer/tokenizer';
import { fuzzMessages, fuzzTemplate } from '../test/chat/fuzz';
import { fuzzOnce } from '../test/grammar/fuzz';
import { fuzzSchema } from '../test/grammar/fuzz-schemas';
import { Random } from '../test/grammar/random';

const MOST_MILLISECONDS = 1000;
const MOST_HEAP = 64;
/** What the code, the tokenizers and V8 itself have before the first input, in MB. */
const OWN_HEAP = 64;
const TOKENIZERS = ['tokenizer.model.v1', 'mistral_instruct_tokenizer_240323.model.v3'];

type Fuzz = (random: Random, tokenizers: readonly Tokenizer[]) => string;

const KINDS: Readonly<Record<string, Fuzz>> = {
  grammars: (random) => fuzzOnce(random),
  schemas: (random) => fuzzSchema(random),
  messages: fuzzMessages,
  templates: fuzzTemplate,
};

interface Task {
  readonly count: number;
  readonly seed: number;
  readonly kinds: readonly string[];
  /** [the input that is read now, by its number]. */
  readonly progress: Int32Array;
}

interface Report {
  readonly outcomes: Record<string, number>;
  /** Of one input, in milliseconds and in MB. */
  readonly slowest: readonly [number, number];
  readonly largest: readonly [number, number];
  readonly ownHeap: number;
}

const megabytes = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 2 ** 20;
};

async function work({ count, seed, kinds, progress }: Task): Promise<void> {
  const folder = resolve(__dirname, '../../shared/reference/tokenizers');
  const needed = kinds.some((kind) => kind === 'messages' || kind === 'templates');
  const tokenizers = needed
    ? await Promise.all(TOKENIZERS.map((name) => loadTokenizer(join(folder, name))))
    : [];
  const outcomes: Record<string, number> = {};
  let slowest: [number, number] = [0, -1];
  let largest: [number, number] = [0, -1];
  const ownHeap = megabytes();
  for (let i = 0; i < count; i++) {
    progress[0] = i;
    const kind = kinds[i % kinds.length]!;
    // Each by itself, so that one can be had again without those before it.
    const random = new Random(Math.imul(seed + i, 0x9e3779b1));
    const before = megabytes();
    const started = performance.now();
    const startedCpu = process.cpuUsage();
    let outcome: string;
    try {
      outcome = KINDS[kind]!(random, tokenizers);
    } catch (error) {
      throw new Error(`input ${i} (${kind}): not a TramontaneError`, { cause: error });
    }
    const { user, system } = process.cpuUsage(startedCpu);
    // Whatever else the machine does: of the process, with the threads that collect and compile.
    const took = Math.min(performance.now() - started, (user + system) / 1000);
    if (took > slowest[0]) slowest = [took, i];
    // Garbage counts too, where none was collected meanwhile: an upper bound.
    const grown = megabytes() - before;
    if (grown > largest[0]) largest = [grown, i];
    if (took > MOST_MILLISECONDS) throw new Error(`input ${i} (${kind}): ${took.toFixed(0)} ms`);
    const name = `${kind} ${outcome}`;
    outcomes[name] = (outcomes[name] ?? 0) + 1;
  }
  parentPort!.postMessage({ outcomes, slowest, largest, ownHeap } satisfies Report);
}

function main(): void {
  const [count = '100000', seed = String(Date.now() % 2 ** 31), ...named] = process.argv.slice(2);
  const unknown = named.find((kind) => !(kind in KINDS));
  if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(KINDS).join()}`);
  const kinds = named.length === 0 ? Object.keys(KINDS) : named;
  const progress = new Int32Array(new SharedArrayBuffer(4));
  const task: Task = { count: Number(count), seed: Number(seed), kinds, progress };
  const worker = new Worker(__filename, {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: OWN_HEAP + MOST_HEAP },
  });
  let last = -1;
  const watch = setInterval(() => {
    if (progress[0] === last) {
      console.error(`seed ${seed}, input ${last}: goes on for 10 seconds`);
      process.exit(1);
    }
    last = progress[0]!;
  }, 10_000);
  worker.on('message', ({ outcomes, slowest, largest, ownHeap }: Report) => {
    console.log(`seed ${seed}: ${count} inputs`);
    for (const [name, times] of Object.entries(outcomes)) console.log(`  ${name}: ${times}`);
    console.log(`slowest: ${slowest[0].toFixed(0)} ms, input ${slowest[1]}`);
    console.log(`most memory: ${largest[0].toFixed(0)} MB, garbage included, input ${largest[1]}`);
    console.log(`heap: ${ownHeap.toFixed(0)} MB before, ${OWN_HEAP + MOST_HEAP} MB at most`);
  });
  worker.on('error', (error: Error) => {
    console.error(`seed ${seed}, input ${progress[0]!}:`, error);
    process.exitCode = 1;
  });
  worker.on('exit', () => {
    clearInterval(watch);
  });
}

if (isMainThread) main();
else void work(workerData as Task);
