/** `tramontane remove`: deletes what was fetched. */
import { Command } from 'commander';
import { removeIncomplete, removePulled } from '../hub/pulled';
import { sizeText } from './units';

interface Flags {
  readonly incomplete?: true;
  readonly json?: true;
}

export function removeCommand(): Command {
  return new Command('remove')
    .description('Deletes models that were fetched.')
    .argument('[models...]', 'as tramontane list names them; hf:OWNER/REPO is all of it')
    .option('--incomplete', 'delete what interrupted downloads have left')
    .option('--json', 'write a JSON array')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane remove hf:TheBloke/Mistral-7B-v0.1-GGUF:Q5_K_M
  $ tramontane remove --incomplete`,
    )
    .action(remove);
}

async function remove(models: readonly string[], flags: Flags, command: Command): Promise<void> {
  if (models.length === 0 && flags.incomplete === undefined) {
    command.error('the model is missing: tramontane list shows which there are');
  }
  const removed = [];
  for (const model of models) removed.push(await removePulled(model));
  if (flags.incomplete) {
    removed.push({ source: 'interrupted downloads', freedBytes: await removeIncomplete() });
  }
  process.stdout.write(
    flags.json
      ? `${JSON.stringify(removed, null, 2)}\n`
      : removed
          .map(({ source, freedBytes }) => `removed ${source}: ${sizeText(freedBytes)}\n`)
          .join(''),
  );
}
