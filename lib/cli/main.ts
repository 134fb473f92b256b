#!/usr/bin/env node
/** The command `tramontane`: its subcommands, and how errors become one line and an exit code. */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { TramontaneError } from '../index';
import { benchCommand } from './bench';
import { benchServeCommand } from './bench-serve';
import { buildCommand } from './build';
import { chatCommand } from './chat';
import { completionCommand } from './completion';
import { doctorCommand } from './doctor';
import { generateCommand } from './generate';
import { inspectCommand } from './inspect';
import { listCommand } from './list';
import { mergeCommand } from './merge';
import { moderateCommand } from './moderate';
import { inFlags } from './options';
import { perplexityCommand } from './perplexity';
import { pullCommand } from './pull';
import { removeCommand } from './remove';
import { serveCommand } from './serve';
import { Interrupted } from './session';
import { tokenizeCommand } from './tokenize';
import { trainCommand } from './train';
import { whereCommand } from './where';

const FAILURE = 1;
const USAGE = 2;
const INTERRUPTED = 130;

async function main(): Promise<void> {
  // The reader of a pipe (`| head`) may leave early: nobody is left to be told.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') report(error.message);
    process.exit(error.code === 'EPIPE' ? 0 : FAILURE);
  });
  const program = new Command('tramontane')
    .description('Runs the Mistral 7B family from GGUF and GPTQ files.')
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', '\nWithout a model, the commands use the small embedded one.');
  for (const command of [
    generateCommand(),
    chatCommand(),
    pullCommand(),
    listCommand(),
    removeCommand(),
    whereCommand(),
    inspectCommand(),
    tokenizeCommand(),
    perplexityCommand(),
    mergeCommand(),
    moderateCommand(),
    trainCommand(),
    serveCommand(),
    benchCommand(),
    benchServeCommand(),
    doctorCommand(),
    buildCommand(),
    completionCommand(program),
  ]) {
    program.addCommand(command);
  }
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureHelp({ showGlobalOptions: false })
      .configureOutput({
        outputError: (text) => {
          report(text.replace(/^error: /, ''));
        },
      });
  }
  if (process.argv.length === 2) {
    program.outputHelp(); // Alone it explains itself, which is no failure.
    return;
  }
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = exitCode(error);
  }
}

/** What the caller can only mend by another command line. */
const WRONG_USAGE: readonly string[] = [
  'INVALID_OPTION',
  'INVALID_PROMPT',
  'INVALID_GRAMMAR',
  'INVALID_MESSAGES',
];

/** The exit code an error asks for. Says what commander and Ctrl-C have not said already. */
function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof Interrupted) return INTERRUPTED;
  if (!(error instanceof TramontaneError)) {
    report(error instanceof Error ? error.message : String(error));
    return FAILURE;
  }
  report(inFlags(error.message));
  return WRONG_USAGE.includes(error.code) ? USAGE : FAILURE;
}

function report(message: string): void {
  process.stderr.write(`tramontane: ${message.trim().replace(/\s*\n\s*/g, ' ')}\n`);
}

function version(): string {
  const file = readFileSync(join(__dirname, '../../package.json'), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

void main();
