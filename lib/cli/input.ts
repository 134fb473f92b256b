/** Text given to a command: as an argument, in a file, or on standard input. */
import { readFile } from 'node:fs/promises';
import { TramontaneError } from '../index';

/** The argument itself, or all of standard input, without its last line end, when it is `-`. */
export async function textArgument(argument: string): Promise<string> {
  if (argument !== '-') return argument;
  return (await readStandardInput()).replace(/\r?\n$/, '');
}

/** What a file holds, or all of standard input when its name is `-`. */
export async function textFile(path: string): Promise<string> {
  if (path === '-') return readStandardInput();
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TramontaneError('FILE_NOT_READABLE', `cannot read ${path}: ${reason}`);
  }
}

async function readStandardInput(): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}
