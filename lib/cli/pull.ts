/** `tramontane pull`: fetches a model, so that it is here. */
import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { pull, type PullProgress } from '../index';
import { DownloadBar } from './download-bar';
import { Interrupted } from './session';

interface Flags {
  readonly revision?: string;
  readonly cacheDirectory?: string;
  readonly json?: true;
}

export function pullCommand(): Command {
  return new Command('pull')
    .description('Fetches a model from the Hugging Face Hub or a URL.')
    .argument('<model>', 'hf:OWNER/REPO[:QUANT], hf:OWNER/REPO/FILE, a URL, or an alias')
    .option('--revision <name>', 'a branch, a tag or a commit (default: main)')
    .option('--cache-directory <path>', "where to put it (default: the hub's cache)")
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Standard output is the path alone. What is interrupted goes on where it was;
hashes are checked. Tokens are read from HF_TOKEN or from what hf auth login
wrote. docs/models.md says more.

Examples:
  $ tramontane pull mistral:7b-instruct-v0.3
  $ tramontane pull hf:TheBloke/Mistral-7B-v0.1-GGUF:Q5_K_M
  $ tramontane pull hf:OWNER/REPO@BRANCH
  $ tramontane pull https://example.com/model.gguf`,
    )
    .action(pullModel);
}

async function pullModel(source: string, flags: Flags): Promise<void> {
  const controller = new AbortController();
  const interrupt = (): void => {
    controller.abort(new Interrupted());
  };
  process.once('SIGINT', interrupt);
  const bar = new DownloadBar();
  let last: PullProgress | undefined;
  try {
    const path = await pull(source, {
      revision: flags.revision,
      cacheDirectory: flags.cacheDirectory,
      signal: controller.signal,
      onProgress: (progress) => {
        last = progress;
        bar.update(progress);
      },
    });
    process.stdout.write(flags.json ? await json(source, path, last) : `${path}\n`);
  } catch (error) {
    if (controller.signal.aborted) {
      bar.clear();
      process.stderr.write('tramontane: interrupted; the same command goes on from here\n');
    }
    throw error;
  } finally {
    bar.clear();
    process.off('SIGINT', interrupt);
  }
}

async function json(source: string, path: string, last?: PullProgress): Promise<string> {
  const { size } = await stat(path);
  const { totalBytes, bytes, cachedBytes } = last ?? { totalBytes: 0, bytes: 0, cachedBytes: 0 };
  const result = {
    source,
    path,
    // What was here already was not counted.
    bytes: totalBytes === 0 ? size : totalBytes,
    fetchedBytes: bytes - cachedBytes,
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}
