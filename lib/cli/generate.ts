/** `tramontane generate`: continues a text, as it is made. */
import { Command } from 'commander';
import type { Generation, GenerationResult } from '../index';
import { addFormOptions, formOf, type FormFlags } from './forms';
import { addTextOptions, givenText, neededText, type TextFlags } from './input';
import {
  adapterOf,
  addAdapterOptions,
  addLoadOptions,
  addSamplingOptions,
  samplingFlags,
  type AdapterFlags,
  type LoadFlags,
  type SamplingFlags,
} from './options';
import { EMBEDDED_MODEL, withModel, modelArgument } from './session';

interface Flags extends TextFlags, FormFlags, LoadFlags, AdapterFlags, SamplingFlags {
  readonly echo?: true;
  readonly json?: true;
}

const STORY = 'Once upon a time';
/** Fewer say little about speed. */
const LEAST_TOKENS_OF_A_RATE = 16;

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('Continues a text and streams it to standard output.')
    .addArgument(modelArgument());
  addTextOptions(command, 'the text to continue')
    .option('--echo', 'write the text before its continuation')
    .option('--json', 'write one JSON object at the end: text, token ids, usage, timings')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane generate --echo
      the embedded model tells a story
  $ tramontane generate mistral-7b.gguf -p "The capital of France is" -n 20 -t 0
  $ tramontane generate mistral-7b.Q4_K_M.gguf -f prompt.txt --stop "\\n\\n"
  $ tramontane generate mistral-7b.gguf -p "As JSON: " --json-schema person.json
  $ tramontane generate model-gptq/ -p "1, 2, 3," --json --logprobs 5 --seed 7`,
    )
    .action(generate);
  return addFormOptions(addSamplingOptions(addAdapterOptions(addLoadOptions(command))));
}

async function generate(path: string | undefined, flags: Flags, command: Command): Promise<void> {
  if (flags.logprobs !== undefined && flags.json === undefined) {
    command.error('--logprobs needs --json');
  }
  const prompt =
    path === undefined
      ? ((await givenText(flags, command)) ?? STORY)
      : await neededText(flags, command, path);
  const form = await formOf(flags);
  await withModel(path ?? EMBEDDED_MODEL, flags, async (model, signal) => {
    const options = {
      ...samplingFlags(flags),
      ...form,
      ...(await adapterOf(model, flags)),
      signal,
    };
    const generation = model.generate(prompt, options);
    if (flags.json) {
      await writeJson(generation);
      return;
    }
    if (flags.echo) process.stdout.write(prompt);
    const result = await stream(generation);
    explain(result, flags.maxTokens);
  });
}

async function stream(generation: Generation): Promise<GenerationResult> {
  let last = '';
  for await (const { text } of generation) {
    process.stdout.write(text);
    if (text !== '') last = text;
  }
  if (!last.endsWith('\n')) process.stdout.write('\n');
  return generation.result();
}

async function writeJson(generation: Generation): Promise<void> {
  const logprobs = [];
  for await (const chunk of generation) logprobs.push(...(chunk.logprobs ?? []));
  const result = await generation.result();
  const all = logprobs.length > 0 ? { ...result, logprobs } : result;
  process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
}

/** Says on stderr why a text ends where nobody asked it to, and to a person how fast it came. */
function explain(result: GenerationResult, maxTokens: number | undefined): void {
  const { usage, timings, finishReason, seed } = result;
  if (finishReason === 'length' && usage.completionTokens !== maxTokens) {
    const tokens = usage.promptTokens + usage.completionTokens;
    process.stderr.write(
      `tramontane: the context is full at ${tokens} tokens; --context-size makes it larger\n`,
    );
  }
  if (!process.stderr.isTTY) return;
  const rate = (usage.completionTokens - 1) / (timings.generateMs / 1000);
  const speed =
    usage.completionTokens < LEAST_TOKENS_OF_A_RATE ? '' : `, ${rate.toFixed(1)} tokens/s`;
  process.stderr.write(
    `\n${usage.completionTokens} tokens${speed}; ` +
      `prompt of ${usage.promptTokens} in ${timings.promptMs.toFixed(0)} ms; seed ${seed}\n`,
  );
}
