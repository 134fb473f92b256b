/**
 * Writes a model of a given shape with random weights, so that speed can be measured at real size
 * anywhere. Its text is noise.
 *   npm run synthesize-model -- --output FILE --format Q4_0 --layers 32
 *   npm run synthesize-model -- --output DIRECTORY --format gptq-4-128 --act-order
 */
import { Command, Option } from 'commander';
import { writeGguf } from './synthesize/gguf';
import { writeGptq } from './synthesize/gptq';
import { MISTRAL_7B, type Shape } from './synthesize/shape';

interface Options extends Shape {
  readonly output: string;
  readonly format: string;
  readonly actOrder?: true;
}

async function main(): Promise<void> {
  const command = new Command('synthesize-model')
    .description('Write a model of a given shape with random weights. The default is Mistral 7B.')
    .requiredOption('--output <path>', 'the GGUF file, or the directory for GPTQ')
    .option('--format <name>', 'Q4_0, Q4_K_M, ... or gptq-BITS-GROUP', 'Q4_0')
    .option('--act-order', 'GPTQ: inputs of a group scattered, as desc_act leaves them');
  for (const name of Object.keys(MISTRAL_7B) as (keyof Shape)[]) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} <n>`;
    command.addOption(new Option(flag).argParser(Number).default(MISTRAL_7B[name]));
  }
  const options = command.parse().opts<Options>();
  const gptq = /^gptq-([2348])-(\d+)$/.exec(options.format);
  const start = performance.now();
  const bytes = gptq
    ? await writeGptq(options.output, options, {
        bits: Number(gptq[1]),
        groupSize: Number(gptq[2]),
        actOrder: options.actOrder === true,
      })
    : await writeGguf(options.output, options, options.format);
  const seconds = (performance.now() - start) / 1000;
  console.log(`${options.output}: ${(bytes / 1e9).toFixed(3)} GB in ${seconds.toFixed(1)} s`);
}

void main();
