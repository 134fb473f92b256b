/** `tramontane where`: the path of a model that is here, or of the directories they are in. */
import { Command } from 'commander';
import { TramontaneError } from '../index';
import { hubCacheDirectory, urlCacheDirectory } from '../hub/environment';
import { findPulled } from '../hub/pull';

export function whereCommand(): Command {
  return new Command('where')
    .description('Says where a fetched model is, or where all of them are.')
    .argument('[model]', 'as tramontane pull takes it')
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Needs no network. Exit code 1: it is not here.

Examples:
  $ tramontane where
  $ tramontane where mistral:7b-instruct-v0.3`,
    )
    .action(async (source: string | undefined, flags: { readonly json?: true }) => {
      const found = source === undefined ? directories() : { path: await pathOf(source) };
      process.stdout.write(
        flags.json
          ? `${JSON.stringify(found, null, 2)}\n`
          : Object.values(found)
              .map((path: string) => `${path}\n`)
              .join(''),
      );
    });
}

/** Of the hub's files, and of other servers'. */
function directories(): Record<string, string> {
  return { hub: hubCacheDirectory(), urls: urlCacheDirectory() };
}

async function pathOf(source: string): Promise<string> {
  const path = await findPulled(source);
  if (path !== undefined) return path;
  const advice = `tramontane pull ${source} fetches it`;
  throw new TramontaneError('FILE_NOT_READABLE', `${source} is not here; ${advice}`);
}
