/** `tramontane tokenize`: text to token ids and back. */
import { Command } from 'commander';
import { loadTokenizer, TramontaneError, type Tokenizer } from '../index';
import { addTextOptions, neededText, type TextFlags } from './input';
import { modelPath } from './model-path';
import { EMBEDDED_MODEL } from './session';

interface Flags extends TextFlags {
  readonly bos?: true;
  readonly decode?: true;
  readonly ids?: true;
  readonly json?: true;
}

export function tokenizeCommand(): Command {
  const command = new Command('tokenize')
    .description('Shows the tokens of a text, or the text of token ids.')
    .argument(
      '[model]',
      'a .gguf, tokenizer.model or tokenizer.json file, or a directory (default: the embedded model)',
    );
  return addTextOptions(command, 'the text, or ids with --decode')
    .option('--bos', 'put the beginning-of-sequence token first')
    .option('--ids', 'write the ids only, on one line')
    .option('--decode', 'the other way: the text of ids such as "415 5565"')
    .option('--json', 'write a JSON array of ids, or a JSON string with --decode')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane tokenize -p "Once upon a time"
  $ tramontane tokenize mistral-7b.Q4_K_M.gguf --ids -f text.txt
  $ tramontane tokenize tokenizer.model --decode -p "415 5565 302 4843"`,
    )
    .action(tokenize);
}

async function tokenize(
  path: string = EMBEDDED_MODEL,
  flags: Flags,
  command: Command,
): Promise<void> {
  const input = await neededText(flags, command, path);
  const tokenizer = await loadTokenizer(await modelPath(path));
  const output = flags.decode ? decode(tokenizer, input, flags) : encode(tokenizer, input, flags);
  process.stdout.write(`${output}\n`);
}

function encode(tokenizer: Tokenizer, text: string, flags: Flags): string {
  const ids = tokenizer.encode(text, { bos: flags.bos ?? false });
  if (flags.json) return JSON.stringify(ids);
  if (flags.ids) return ids.join(' ');
  return ids.map((id) => `${id}\t${quote(tokenizer.tokenBytes(id))}`).join('\n');
}

function decode(tokenizer: Tokenizer, input: string, flags: Flags): string {
  const ids = (input.match(/[^\s,[\]]+/g) ?? []).map((word) => {
    const id = /^\d+$/.test(word) ? Number(word) : Infinity;
    if (id >= tokenizer.vocabularySize) {
      const range = `0 to ${tokenizer.vocabularySize - 1}`;
      throw new TramontaneError('INVALID_OPTION', `"${word}" is no token id: they are ${range}`);
    }
    return id;
  });
  const text = tokenizer.decode(ids);
  return flags.json ? JSON.stringify(text) : text;
}

/** Bytes as a JSON string, those outside whole printable characters as \xNN. */
function quote(bytes: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return `"${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}"`;
  }
}
