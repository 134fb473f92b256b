/** `tramontane inspect`: what a model's files say, without loading the weights. */
import { Command } from 'commander';
import { inspect } from '../index';
import { modelPath } from './model-path';
import { EMBEDDED_MODEL } from './session';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description("Shows what a model's header says. Reads no weights.")
    .argument(
      '[model]',
      'a .gguf file, a directory or hf:OWNER/REPO:QUANT (default: the embedded model)',
    )
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane inspect
  $ tramontane inspect mistral-7b.Q4_K_M.gguf --json`,
    )
    .action(async (path: string | undefined, flags: { readonly json?: true }) => {
      const facts = await inspect(await modelPath(path ?? EMBEDDED_MODEL));
      process.stdout.write(flags.json ? `${JSON.stringify(facts, null, 2)}\n` : table(facts));
    });
}

/** One line a fact; the names of nested facts are joined by dots. */
function table(facts: object): string {
  const rows = flatten('', facts);
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function flatten(prefix: string, facts: object): [string, string][] {
  return Object.entries(facts).flatMap(([key, value]: [string, unknown]): [string, string][] => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (typeof value === 'object' && value !== null) {
      const isList = Array.isArray(value) && value.every((item) => typeof item !== 'object');
      return isList ? [[name, value.join(', ')]] : flatten(name, value);
    }
    return [[name, scalar(value)]];
  });
}

/** A value on one line, without control characters; a chat template by its beginning. */
function scalar(value: unknown): string {
  if (value === undefined || value === null) return 'none';
  const text =
    typeof value === 'string' ? value.replace(/[\s\p{Cc}]+/gu, ' ') : JSON.stringify(value);
  return text.length <= 300 ? text : `${text.slice(0, 60)}... (${text.length} characters)`;
}
