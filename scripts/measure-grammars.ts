/**
 * What grammars of real schemas cost on Mistral's V3 vocabulary: compiling, and the mask before each
 * token of their valid instances.
 *   npm run script scripts/measure-grammars.ts -- [--worst 5]
 * The schemas are MaskBench's in the reference folder. "cold" are the masks of a schema whose tables
 * are new, "warm" those of the same texts again: each the least of three runs, so that what else
 * the machine does counts little. --worst lists the schemas with the slowest masks.
 */
import './help';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { TramontaneError } from '../lib/errors';
import { schemaRules } from '../lib/grammar/json-schema/schema-rules';
import { type Network, buildNetwork } from '../lib/grammar/network';
import { grammarVocabulary } from '../lib/model/grammar-vocabulary';
import { native, type NativeGrammar, type NativeVocabulary } from '../lib/model/native';
import { loadTokenizer } from '../lib/tokenizer/load';
import type { Tokenizer } from '../lib/tokenizer/tokenizer';

const shared = resolve(__dirname, '../../shared');
const RUNS = [0, 1, 2];
const VOCABULARY = 'reference/tokenizers/mistral_instruct_tokenizer_240323.model.v3';

interface Benchmark {
  readonly id: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly valid: boolean; readonly data: unknown }[];
}

function benchmarks(): Benchmark[] {
  const folder = join(shared, 'structured/maskbench');
  return readdirSync(folder).flatMap(
    (name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Benchmark[],
  );
}

/** Of the masks before each token of a text, and after the last; undefined: the text is refused. */
function maskTimes(
  grammar: NativeGrammar,
  vocabulary: NativeVocabulary,
  end: number,
  tokens: readonly number[],
): number[] | undefined {
  const options = { endTokens: Int32Array.of(end), dummySpace: true };
  const matcher = new (native().Matcher)(grammar, vocabulary, options);
  const times = [];
  for (const token of tokens) {
    times.push(matcher.timeMask());
    if (!matcher.accept(token)) return undefined;
  }
  times.push(matcher.timeMask());
  return matcher.accepting ? times : undefined;
}

function least(runs: readonly (readonly number[])[]): number[] {
  return runs[0]!.map((_, i) => Math.min(...runs.map((run) => run[i]!)));
}

class Measurement {
  readonly compile: number[] = [];
  readonly cold: number[] = [];
  readonly warm: number[] = [];
  readonly worst: [microseconds: number, id: string][] = [];
  refused = 0;
  texts = 0;
  readonly wrong: string[] = [];

  add({ id, schema, tests }: Benchmark, tokenizer: Tokenizer, vocabulary: NativeVocabulary): void {
    const start = performance.now();
    let network: Network;
    let first: NativeGrammar;
    try {
      network = buildNetwork(schemaRules(schema));
      first = new (native().Grammar)(network.nodes, network.edges, network.most);
    } catch (error) {
      if (!(error instanceof TramontaneError)) throw error;
      this.refused += 1;
      return;
    }
    this.compile.push((performance.now() - start) * 1000);
    const { nodes, edges, most } = network;
    const grammars = RUNS.map((run) =>
      run === 0 ? first : new (native().Grammar)(nodes, edges, most),
    );
    for (const { valid, data } of tests) {
      if (!valid) continue;
      const tokens = tokenizer.encode(JSON.stringify(data));
      const run = (grammar: NativeGrammar): number[] | undefined =>
        maskTimes(grammar, vocabulary, tokenizer.eosId!, tokens);
      const cold = grammars.map(run).filter((times) => times !== undefined);
      const warm = grammars.map(run).filter((times) => times !== undefined);
      this.texts += 1;
      if (cold.length < RUNS.length) {
        this.wrong.push(id);
        continue;
      }
      const times = least(cold);
      this.cold.push(...times);
      this.warm.push(...least(warm));
      this.worst.push([Math.max(...times), id]);
    }
  }
}

const QUANTILES = [0.5, 0.95, 0.99, 1] as const;

function row(name: string, values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const cells = QUANTILES.map((quantile) => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))] ?? NaN;
    return value.toPrecision(3);
  });
  return `| ${name} | ${cells.join(' | ')} |`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { worst: { type: 'string', default: '0' } } });
  const tokenizer = await loadTokenizer(join(shared, VOCABULARY));
  const start = performance.now();
  const vocabulary = await grammarVocabulary(tokenizer);
  console.log(`The vocabulary is arranged in ${(performance.now() - start).toFixed(0)} ms.`);
  const measurement = new Measurement();
  const all = benchmarks();
  for (const benchmark of all) measurement.add(benchmark, tokenizer, vocabulary);
  const { compile, cold, warm, worst, refused, texts, wrong } = measurement;
  console.log(`${all.length - refused} of ${all.length} schemas compile.`);
  console.log(`${texts - wrong.length} of ${texts} texts are taken; ${cold.length} masks.\n`);
  console.log('| us | p50 | p95 | p99 | most |\n| --- | --- | --- | --- | --- |');
  console.log(row('compile', compile));
  console.log(row('mask, cold', cold));
  console.log(row('mask, warm', warm));
  console.log('| llguidance 0.7.10, published: compile | 1000 | | 18000 | |');
  console.log('| llguidance 0.7.10, published: mask | 46 | | 533 | |');
  worst.sort(([a], [b]) => b - a);
  for (const [time, id] of worst.slice(0, Number(values.worst))) {
    console.log(`${time.toFixed(0).padStart(8)} us  ${id}`);
  }
  // Most of these have their properties in another order than the schema.
  if (wrong.length > 0) console.log(`Refused texts: ${[...new Set(wrong)].join(' ')}`);
}

void main();
