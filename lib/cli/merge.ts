/** `tramontane merge`: a model with an adapter in its weights. */
import { Command, Option } from 'commander';
import { mergeAdapter } from '../model/merge';
import type { MergedFormat } from '../model/native';
import { number } from './options';
import { Progress } from './progress';
import { sizeText } from './units';

interface Flags {
  readonly output: string;
  readonly format: MergedFormat;
  readonly adapterScale?: number;
  readonly json?: true;
}

export function mergeCommand(): Command {
  return new Command('merge')
    .description('Writes a GGUF model with an adapter in its weights.')
    .argument('<model>', 'a .gguf file')
    .argument('<adapter>', 'a directory of PEFT, or a .gguf file with a LoRA')
    .requiredOption('-o, --output <file>', 'the .gguf file to write')
    .addOption(
      new Option('--format <name>', 'of the weights that the adapter changes')
        .choices(['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'])
        .default('F16'),
    )
    .option('--adapter-scale <x>', "what the adapter's part is multiplied by (default: 1)", number)
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Weights that the adapter leaves alone keep their bytes. Rounding to 8 or 4 bits
again loses a part of what was trained; a model with the adapter beside it
(--adapter) does not.

Examples:
  $ tramontane merge mistral-7b.Q8_0.gguf loras/legal -o legal.gguf
  $ tramontane merge mistral-7b.gguf loras/legal -o legal.gguf --format Q8_0`,
    )
    .action(merge);
}

async function merge(model: string, adapter: string, flags: Flags): Promise<void> {
  const progress = new Progress();
  try {
    const { weights, bytes } = await mergeAdapter(model, adapter, flags.output, {
      format: flags.format,
      scale: flags.adapterScale ?? 1,
      onProgress: (fraction) => {
        progress.update('merging', fraction);
      },
    });
    progress.clear();
    const { output: path } = flags;
    process.stdout.write(
      flags.json
        ? `${JSON.stringify({ path, weights, bytes }, null, 2)}\n`
        : `${path}: ${weights} weights merged, ${sizeText(bytes)}\n`,
    );
  } finally {
    progress.clear();
  }
}
