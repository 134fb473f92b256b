/** Pulls a source and writes its path: a process that tests kill. Arguments: source, directory, settings. */
import { pullWith, type PullSettings } from '../../lib/hub/pull';

const [source, cacheDirectory, settings] = process.argv.slice(2);

pullWith(source, { cacheDirectory }, JSON.parse(settings!) as Partial<PullSettings>).then(
  (path) => process.stdout.write(`${path}\n`),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  },
);
