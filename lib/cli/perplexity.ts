/** `tramontane perplexity`: how well a model predicts a text. */
import { Command } from 'commander';
import type { AdapterUse, Model } from '../index';
import { addTextOptions, neededText, type TextFlags } from './input';
import {
  adapterOf,
  addAdapterOptions,
  addLoadOptions,
  integer,
  type AdapterFlags,
  type LoadFlags,
} from './options';
import { Progress } from './progress';
import { EMBEDDED_MODEL, withModel, modelArgument } from './session';

interface Flags extends TextFlags, LoadFlags, AdapterFlags {
  readonly chunk?: number;
  readonly json?: true;
}

export function perplexityCommand(): Command {
  const command = new Command('perplexity')
    .description('Measures how well a model predicts a text: lower is better.')
    .addArgument(modelArgument());
  addTextOptions(command, 'the text')
    .option('--chunk <n>', 'tokens judged together (default: the context size)', integer)
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
The text is cut into chunks; each starts anew, with the beginning-of-sequence
token if the model has one. The result is exp of the mean negative
log-likelihood of all tokens but the first of each chunk.

Examples:
  $ tramontane perplexity -f story.txt
  $ tramontane perplexity mistral-7b.gguf -f wiki.test.raw --chunk 2048 --json`,
    )
    .action(perplexity);
  return addAdapterOptions(addLoadOptions(command));
}

async function perplexity(
  path: string = EMBEDDED_MODEL,
  flags: Flags,
  command: Command,
): Promise<void> {
  for (const [name, size] of [
    ['--chunk', flags.chunk],
    ['--context-size', flags.contextSize],
  ] as const) {
    if (size !== undefined && size < 2) command.error(`${name} must be at least 2`);
  }
  const text = await neededText(flags, command, path);
  await withModel(path, flags, async (model, signal) => {
    signal.addEventListener('abort', () => void model.dispose());
    const chunks = split(model, text, flags.chunk ?? model.info.contextSize);
    if (chunks.length === 0) command.error('the text has fewer than two tokens');
    const { negativeLogLikelihood, tokens } = await measure(
      model,
      chunks,
      await adapterOf(model, flags),
    );
    const value = Math.exp(negativeLogLikelihood / tokens);
    process.stdout.write(
      flags.json
        ? `${JSON.stringify({ perplexity: value, tokens, chunks: chunks.length }, null, 2)}\n`
        : `perplexity ${value.toFixed(4)} over ${tokens} tokens\n`,
    );
  });
}

/** Chunks of at most `size` tokens, at least two each, BOS included. */
function split(model: Model, text: string, size: number): number[][] {
  const { tokenizer } = model;
  const bos = tokenizer.addBos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  const ids = tokenizer.encode(text);
  const chunks: number[][] = [];
  const step = Math.max(1, size - bos.length);
  for (let start = 0; start < ids.length; start += step) {
    chunks.push([...bos, ...ids.slice(start, start + step)]);
  }
  return chunks.filter((chunk) => chunk.length >= 2);
}

async function measure(
  model: Model,
  chunks: readonly number[][],
  use: AdapterUse,
): Promise<{ negativeLogLikelihood: number; tokens: number }> {
  const progress = new Progress();
  let negativeLogLikelihood = 0;
  let tokens = 0;
  try {
    for (const [index, chunk] of chunks.entries()) {
      progress.update('predicting', index / chunks.length);
      negativeLogLikelihood += Math.log(await model.perplexity(chunk, use)) * (chunk.length - 1);
      tokens += chunk.length - 1;
    }
  } finally {
    progress.clear();
  }
  return { negativeLogLikelihood, tokens };
}
