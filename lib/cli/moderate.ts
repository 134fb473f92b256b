/** `tramontane moderate`: how a model judges a text. */
import { Command } from 'commander';
import { addTextOptions, neededText, type TextFlags } from './input';
import { addLoadOptions, type LoadFlags } from './options';
import { EMBEDDED_MODEL, withModel, modelArgument } from './session';

interface Flags extends TextFlags, LoadFlags {
  readonly json?: true;
}

export function moderateCommand(): Command {
  const command = new Command('moderate')
    .description('Judges a text by 13 labels: how probable the model finds each.')
    .addArgument(modelArgument());
  addTextOptions(command, 'the text to judge')
    .option('--json', 'write one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane moderate mistral-7b-instruct.gguf -p "some text"
  $ cat page.txt | tramontane moderate mistral-7b-instruct.gguf --json

How good the judgement is depends on the model; the embedded one tells stories
and knows nothing.`,
    )
    .action(moderate);
  return addLoadOptions(command);
}

async function moderate(path: string | undefined, flags: Flags, command: Command): Promise<void> {
  const text = await neededText(flags, command, path ?? EMBEDDED_MODEL);
  await withModel(path ?? EMBEDDED_MODEL, flags, async (model) => {
    const moderation = await model.moderate(text);
    if (flags.json) {
      process.stdout.write(`${JSON.stringify(moderation, null, 2)}\n`);
      return;
    }
    const [{ category_scores: scores, categories }] = moderation.results;
    const rows = Object.entries(scores).sort(([, a], [, b]) => b - a);
    for (const [label, score] of rows) {
      const mark = categories[label] === true ? '  flagged' : '';
      process.stdout.write(`${score.toFixed(4)}  ${label}${mark}\n`);
    }
  });
}
