/** The text a command works on: an argument, a file, or standard input. */
import { fstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { isFetched } from '../hub/resolve';
import { loadTokenizer, TramontaneError } from '../index';

export interface TextFlags {
  readonly prompt?: string;
  readonly file?: string;
}

/** @param what the text is, such as `the text to continue` */
export function addTextOptions(command: Command, what: string): Command {
  return command
    .option('-p, --prompt <text>', `${what}; - reads standard input`)
    .option('-f, --file <path>', 'a file with it; - reads standard input');
}

/**
 * The text that was given, a file's and standard input's without its last line end. What is piped
 * in needs no option: `echo text | tramontane generate`. Undefined when there is none.
 */
export async function givenText(flags: TextFlags, command: Command): Promise<string | undefined> {
  const { prompt, file } = flags;
  if (prompt !== undefined && file !== undefined) {
    command.error('--prompt and --file both give the text: leave one out');
  }
  if (prompt !== undefined && prompt !== '-') return prompt;
  if (file !== undefined && file !== '-') {
    return toText(file, await readTextFile(file));
  }
  if (prompt === undefined && file === undefined && !isPiped()) return undefined;
  const text = toText('standard input', await readStandardInput());
  return text === '' && prompt === undefined && file === undefined ? undefined : text;
}

/** The text that was given. A model that cannot be read is said before a text that is missing. */
export async function neededText(
  flags: TextFlags,
  command: Command,
  model: string,
): Promise<string> {
  const text = await givenText(flags, command);
  if (text !== undefined) return text;
  // Nothing is fetched only to say what else is wrong.
  if (!(await isFetched(model))) await loadTokenizer(model);
  return command.error('the text is missing: -p TEXT, -f FILE, or pipe it in');
}

/** Whether something is piped into the process, or a file is its standard input. */
function isPiped(): boolean {
  try {
    const input = fstatSync(0);
    return input.isFIFO() || input.isFile() || input.isSocket();
  } catch {
    return false; // Standard input is closed.
  }
}

async function readTextFile(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TramontaneError('FILE_NOT_READABLE', `cannot read ${path}: ${reason}`);
  }
}

async function readStandardInput(): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** Bytes as text, without a byte order mark and the last line end. */
function toText(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch {
    throw new TramontaneError('INVALID_PROMPT', `${name} is not UTF-8: convert it, as iconv does`);
  }
}
