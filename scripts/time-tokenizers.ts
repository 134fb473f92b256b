/**
 * How long tokenizers take to build and to encode, on the reference folder's files:
 *   npm run script -- scripts/time-tokenizers.ts [runs]
 * Prints processor time of the first and of the shortest run, in milliseconds: other programs on
 * the machine change it less than the time that passes.
 */
import './help';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readTokenizerSource } from '../lib/files/find-tokenizer';
import { createTokenizer } from '../lib/tokenizer/create';

const reference = resolve(
  process.env['TRAMONTANE_REFERENCE'] ?? join(__dirname, '../../shared/reference'),
);
const runs = Number(process.argv[2] ?? 8);

const FILES = [
  'tokenizers/tokenizer.model.v1',
  'tokenizers/mistral_instruct_tokenizer_240323.model.v3',
  'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  'demo/breeze-gptq/tokenizer.json',
  'demo/breeze-Q4_0.gguf',
];

const MILLION = 1_000_000;

function texts(): [name: string, text: string][] {
  const path = join(reference, 'smollm2/smollm2-135m-instruct.json');
  const { text } = JSON.parse(readFileSync(path, 'utf8')) as { text: string };
  const mixed = 'Zażółć gęślą jaźń, 日本語 한국어 हिन्दी 😀 x[i] += 12345;\n';
  const toMillion = (part: string): string => part.repeat(Math.ceil(MILLION / part.length));
  return [
    ['English, 1 MB', toMillion(text)],
    ['mixed scripts, 1 M units', toMillion(mixed)],
    ['10,000 letters a', 'a'.repeat(10_000)],
    ['10,000 spaces', ' '.repeat(10_000)],
    ['1 M letters a', 'a'.repeat(MILLION)],
    ['1 M of ab', toMillion('ab')],
    ['1 M spaces', ' '.repeat(MILLION)],
    ['1 M newlines', '\n'.repeat(MILLION)],
  ];
}

function time<T>(name: string, work: () => T): T {
  const times: number[] = [];
  let result!: T;
  for (let run = 0; run < runs; run++) {
    const start = process.cpuUsage();
    result = work();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
  }
  const [first, shortest] = [times[0]!, Math.min(...times)].map((t) => t.toFixed(1).padStart(8));
  console.log(`  ${name.padEnd(28)} first ${first}  shortest ${shortest}`);
  return result;
}

async function main(): Promise<void> {
  for (const file of FILES) {
    console.log(file);
    const source = await readTokenizerSource(join(reference, file));
    const tokenizer = time('build', () => createTokenizer(source));
    let ids: number[] = [];
    for (const [name, text] of texts()) ids = time(name, () => tokenizer.encode(text));
    time(`decode ${ids.length} ids`, () => tokenizer.decode(ids));
  }
}

void main();
