/**
 * Speeds beside node-llama-cpp's: the same file, the same threads, one after the other in turns, each
 * in a process of its own. Prints a table in Markdown: medians with ranges, and their ratio.
 *   npm run script scripts/bench-peers.ts -- MODEL.gguf [--prompt 512] [--generate 64]
 *     [--repeat 3] [--threads N]
 * node-llama-cpp is installed from the npm registry into a temporary directory, once.
 */
import './help';
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { median, range } from '../lib/cli/statistics';
import { cpuName } from './machine';
import { installPeer, PEER } from './peer';

/** What a run of either engine prints, as JSON in its last line. */
interface Run {
  readonly loadMs: number;
  /** Tokens per second. */
  readonly prefill: number;
  readonly decode: number;
  readonly residentBytes: number;
}

const PROMPT = `
  let state = 7;
  const prompt = Array.from({ length: promptTokens }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 10 + Math.floor((state / 2 ** 32) * 240);
  });`;

const ARGUMENTS = `
  const [path, ...numbers] = process.argv.slice(2);
  const [promptTokens, generate, threads] = numbers.map(Number);
  const report = (run) => console.log(JSON.stringify(run));
  const start = performance.now();`;

const OURS = `
  import { Model } from ${JSON.stringify(resolve(__dirname, '../dist/index.js'))};
  ${ARGUMENTS}
  const model = await Model.load(path, { threads, backend: 'cpu' });
  const loadMs = performance.now() - start;
  await model.generate([1, 2, 3], { maxTokens: 2, ignoreEos: true }).result();
  ${PROMPT}
  const options = { maxTokens: generate, temperature: 0, ignoreEos: true };
  const { timings } = await model.generate(prompt, options).result();
  report({
    loadMs,
    prefill: promptTokens / (timings.promptMs / 1000),
    decode: (generate - 1) / (timings.generateMs / 1000),
    residentBytes: process.memoryUsage.rss(),
  });
  await model.dispose();`;

const THEIRS = `
  import { getLlama } from 'node-llama-cpp';
  ${ARGUMENTS}
  const llama = await getLlama({ gpu: false, maxThreads: threads, build: 'never', logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: path });
  const contextSize = promptTokens + generate + 64;
  const context = await model.createContext({ contextSize, batchSize: 512, threads, sequences: 1 });
  const loadMs = performance.now() - start;
  const sequence = context.getSequence();
  const run = async (tokens, count) => {
    const start = performance.now();
    let first = 0, n = 0;
    for await (const token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
      if (n++ === 0) first = performance.now();
      if (n >= count) break;
    }
    return { promptMs: first - start, generateMs: performance.now() - first, n };
  };
  await run([1, 2, 3], 2);
  await sequence.clearHistory();
  ${PROMPT}
  const { promptMs, generateMs, n } = await run(prompt, generate);
  report({
    loadMs,
    prefill: promptTokens / (promptMs / 1000),
    decode: (n - 1) / (generateMs / 1000),
    residentBytes: process.memoryUsage.rss(),
  });
  process.exit(0);`;

/** A directory with the peer and both programs. */
function prepare(): string {
  const directory = installPeer();
  writeFileSync(join(directory, 'ours.mjs'), OURS);
  writeFileSync(join(directory, 'theirs.mjs'), THEIRS);
  return directory;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      prompt: { type: 'string', default: '512' },
      generate: { type: 'string', default: '64' },
      repeat: { type: 'string', default: '3' },
      threads: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const [path] = positionals;
  if (path === undefined) throw new Error('give a .gguf file');
  if (!existsSync(resolve(__dirname, '../dist/index.js'))) throw new Error('npm run compile first');
  const directory = prepare();
  const run = (program: string): Run => {
    const size = [values.prompt, values.generate, values.threads];
    const output = execFileSync('node', [program, resolve(path), ...size], {
      cwd: directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Run;
  };
  const ours: Run[] = [];
  const theirs: Run[] = [];
  for (let repeat = 0; repeat < Number(values.repeat); ++repeat) {
    theirs.push(run('theirs.mjs'));
    ours.push(run('ours.mjs'));
    console.error(`run ${String(repeat + 1)} of ${values.repeat}`);
  }
  console.log(`${cpuName()}, ${values.threads} threads\n`);
  console.log(`| | tramontane | ${PEER.replace('@', ' ')} | ratio |\n| --- | --- | --- | --- |`);
  const row = (name: string, figure: (run: Run) => number, smallerIsBetter: boolean): void => {
    const show = (runs: Run[]): string => {
      const [least, greatest] = range(runs.map(figure));
      const [middle, low, high] = [median(runs.map(figure)), least, greatest].map((value) =>
        value.toFixed(value < 100 ? 1 : 0),
      );
      return `${middle!} (${low!} to ${high!})`;
    };
    const ratios = ours.map((run, i) => figure(run) / figure(theirs[i]!));
    const ratio = median(smallerIsBetter ? ratios.map((value) => 1 / value) : ratios);
    console.log(`| ${name} | ${show(ours)} | ${show(theirs)} | ${ratio.toFixed(2)} |`);
  };
  row(`prefill ${values.prompt}, tokens/s`, (run) => run.prefill, false);
  row(`decode ${values.generate}, tokens/s`, (run) => run.decode, false);
  row('load, ms', (run) => run.loadMs, true);
  row('resident, MiB', (run) => run.residentBytes / 2 ** 20, true);
}

main();
