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
import { paint } from './style';
import { tokenizeCommand } from './tokenize';
import { trainCommand } from './train';
import { whereCommand } from './where';

const FAILURE = 1;
const USAGE = 2;
const INTERRUPTED = 130;

const TO_BEGIN = `
Without a model, the small one is taken that the package has; it tells stories.

To begin:
  $ tramontane generate --echo                a story
  $ tramontane chat mistral:7b-instruct-v0.3  fetches 4.4 GB, once
  $ tramontane serve FILE.gguf                OpenAI's API, on 127.0.0.1:8000
  $ tramontane generate --help                what a command takes`;

async function main(): Promise<void> {
  // The reader of a pipe (`| head`) may leave early: nobody is left to be told.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') report(error.message);
    process.exit(error.code === 'EPIPE' ? 0 : FAILURE);
  });
  const program = new Command('tramontane')
    .description('Runs the Mistral 7B family from GGUF and GPTQ files.')
    .usage('<command> [model] [options]')
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', TO_BEGIN);
  const groups = {
    'Text:': [generateCommand, chatCommand, tokenizeCommand, perplexityCommand, moderateCommand],
    'Models:': [pullCommand, listCommand, whereCommand, removeCommand, inspectCommand],
    'Adapters:': [trainCommand, mergeCommand],
    'Serving and speed:': [serveCommand, benchCommand, benchServeCommand],
    'This machine:': [doctorCommand, buildCommand, () => completionCommand(program)],
  };
  for (const [heading, commands] of Object.entries(groups)) {
    program.commandsGroup(heading);
    for (const command of commands) program.addCommand(command());
  }
  program.helpCommand('help [command]', 'Shows what a command takes.');
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureHelp({
        showGlobalOptions: false,
        subcommandTerm: (subcommand) => subcommand.name(),
        styleTitle: (text) => paint('bold', text),
        styleSubcommandTerm: (text) => paint('cyan', text),
        styleOptionTerm: (text) => paint('cyan', text),
      })
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
  const name = paint('red', 'tramontane:', process.stderr);
  process.stderr.write(`${name} ${message.trim().replace(/\s*\n\s*/g, ' ')}\n`);
}

function version(): string {
  const file = readFileSync(join(__dirname, '../../package.json'), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

void main();
