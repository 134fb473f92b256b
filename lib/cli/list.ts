/** `tramontane list`: the models that are here, or those that have a short name. */
import { Command } from 'commander';
import { aliases } from '../hub/aliases';
import { listPulled, type Pulled } from '../hub/pulled';
import { paint } from './style';
import { sizeText } from './units';

interface Flags {
  readonly aliases?: true;
  readonly json?: true;
}

const HEADER = ['NAME', 'SIZE', 'LAST USED', 'QUANT'];
const DAY = 24 * 3600;

export function listCommand(): Command {
  return new Command('list')
    .description('Lists the models that were fetched, or those with a short name.')
    .option('--aliases', 'the short names that pull takes, and what each is')
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Models that Python's tools fetched are here too: the cache is theirs.

Examples:
  $ tramontane list
  $ tramontane list --aliases`,
    )
    .action(async (flags: Flags) => {
      if (flags.aliases) {
        process.stdout.write(flags.json ? json({ aliases }) : aliasTable());
        return;
      }
      const pulled = await listPulled();
      process.stdout.write(flags.json ? json(pulled) : table(pulled, new Date()));
    });
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** A line a model; the name first, however long it is, and last what the name does not say. */
export function table({ models, incomplete }: Pulled, now: Date): string {
  const rest = incomplete.reduce((sum, { bytes }) => sum + bytes, 0);
  const lines = models.map(({ source, quant = '', bytes, lastUsed }) => [
    source,
    sizeText(bytes),
    ago((now.getTime() - lastUsed.getTime()) / 1000),
    source.endsWith(`:${quant}`) ? '' : quant,
  ]);
  if (lines.length === 0) {
    lines.push(['no models are here; tramontane pull mistral:7b-instruct-v0.3 fetches one']);
  } else {
    lines.unshift(lines.some(([, , , rest]) => rest !== '') ? HEADER : HEADER.slice(0, -1));
  }
  if (incomplete.length > 0) {
    const what =
      incomplete.length === 1
        ? '1 interrupted download'
        : `${incomplete.length} interrupted downloads`;
    lines.push([
      `${what}, ${sizeText(rest)}: pull goes on, tramontane remove --incomplete deletes`,
    ]);
  }
  return aligned(lines);
}

/** Columns as wide as they have to be, below a header; lines of one cell count for nothing. */
function aligned(lines: readonly (readonly string[])[]): string {
  const rows = lines.filter(({ length }) => length > 1);
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]!.length)),
  );
  return lines
    .map((row) => {
      const cells =
        row.length === 1 ? row : row.map((cell, column) => cell.padEnd(widths[column]!));
      const line = cells.join('  ').trimEnd();
      return `${row === rows[0] ? paint('bold', line) : line}\n`;
    })
    .join('');
}

function aliasTable(): string {
  return aliases
    .map(({ name, source, about, licence }) => {
      const terms = licence === undefined ? '' : `  ${licence}`;
      return `${paint('bold', name)}\n  ${about}\n  ${source}${terms}\n`;
    })
    .join('');
}

function ago(seconds: number): string {
  if (seconds < 60) return 'now';
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / DAY)} d ago`;
}
