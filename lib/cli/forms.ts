/** Flags that hold the output to a form, for `generate`. */
import { readFile } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { TramontaneError, type GenerateOptions, type JsonSchema } from '../index';

export interface FormFlags {
  readonly jsonSchema?: string;
  readonly regex?: string;
  readonly choice?: string[];
  readonly grammar?: string;
}

const NAMES = ['jsonSchema', 'regex', 'choice', 'grammar'];

export function addFormOptions(command: Command): Command {
  const others = (name: string): string[] => NAMES.filter((other) => other !== name);
  return command
    .optionsGroup('Form:')
    .addOption(
      new Option('--json-schema <file>', 'only JSON that matches this schema').conflicts(
        others('jsonSchema'),
      ),
    )
    .addOption(
      new Option('--regex <expression>', 'only text that matches it as a whole').conflicts(
        others('regex'),
      ),
    )
    .addOption(
      new Option('--choice <text>', 'only one of these texts; repeatable')
        .argParser((text, all: string[] | undefined) => [...(all ?? []), text])
        .conflicts(others('choice')),
    )
    .addOption(
      new Option('--grammar <file>', 'only text of this grammar, in GBNF').conflicts(
        others('grammar'),
      ),
    );
}

/** The options of `Model.generate` that the flags ask for. */
export async function formOf(flags: FormFlags): Promise<GenerateOptions> {
  const { jsonSchema, regex, choice, grammar } = flags;
  if (jsonSchema !== undefined) return { json: await schemaIn(jsonSchema) };
  if (grammar !== undefined) return { grammar: await textOf(grammar) };
  return { ...(regex !== undefined && { regex }), ...(choice && { choice }) };
}

async function schemaIn(path: string): Promise<JsonSchema> {
  const text = await textOf(path);
  try {
    return JSON.parse(text) as JsonSchema;
  } catch (error) {
    throw new TramontaneError('INVALID_OPTION', `${path} is no JSON: ${(error as Error).message}`);
  }
}

export async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new TramontaneError(
      'FILE_NOT_READABLE',
      `cannot read ${path}: ${(error as Error).message}`,
    );
  }
}
