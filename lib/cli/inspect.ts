/** `tramontane inspect`: what a model's files say, and what it will take of memory. */
import { Command, Option } from 'commander';
import {
  estimateMemory,
  inspect,
  TramontaneError,
  type MemoryEstimate,
  type MemoryOptions,
} from '../index';
import { openCheckpoint } from '../files/open';
import { checkMemoryOptions, estimateOf } from '../model/estimate-memory';
import { modelPath } from './model-path';
import { integer } from './options';
import { EMBEDDED_MODEL, modelArgument } from './session';
import { sizeText } from './units';

const CONTEXTS = [2048, 4096, 8192, 16384, 32768];
const USERS = [1, 4, 16, 64];

interface Flags extends Pick<MemoryOptions, 'contextSize' | 'users' | 'kvCacheType' | 'mapping'> {
  readonly memory?: true;
  readonly json?: true;
}

export function inspectCommand(): Command {
  return new Command('inspect')
    .description("Shows what a model's header says. Reads no weights.")
    .addArgument(modelArgument())
    .option('--memory', 'what it will take of memory on the CPU')
    .option('--context-size <n>', 'with --memory: tokens of a conversation', integer)
    .option('--users <n>', 'with --memory: conversations at the same time', integer)
    .addOption(
      new Option('--kv-cache-type <type>', 'with --memory: how keys and values are stored').choices(
        ['f16', 'f32'],
      ),
    )
    .addOption(
      new Option('--mapping <kind>', 'with --memory: map the files, or read a copy').choices([
        'shared',
        'private',
        'read',
      ]),
    )
    .option('--json', 'write a JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ tramontane inspect
  $ tramontane inspect mistral-7b.Q4_K_M.gguf --json
  $ tramontane inspect mistral-7b.Q4_K_M.gguf --memory --users 16`,
    )
    .action(async (model: string | undefined, { memory, json, ...options }: Flags) => {
      if (!memory && Object.keys(options).length > 0) {
        throw new TramontaneError(
          'INVALID_OPTION',
          '--context-size, --users, --kv-cache-type and --mapping go with --memory',
        );
      }
      const path = await modelPath(model ?? EMBEDDED_MODEL);
      if (memory && !json) {
        process.stdout.write(await memoryTable(path, options));
        return;
      }
      const facts = memory ? await estimateMemory(path, options) : await inspect(path);
      process.stdout.write(json ? `${JSON.stringify(facts, null, 2)}\n` : table(facts));
    });
}

/** The parts, then totals by context and users; those that do not fit have a star. */
async function memoryTable(path: string, options: MemoryOptions): Promise<string> {
  checkMemoryOptions(options);
  const checkpoint = await openCheckpoint(path);
  const asked = estimateOf(checkpoint, options);
  const contexts =
    options.contextSize === undefined
      ? [...CONTEXTS.filter((size) => size < asked.contextSize), asked.contextSize]
      : [options.contextSize];
  const counts = options.users === undefined ? USERS : [options.users];
  const rows = contexts.map((contextSize) =>
    counts.map((users) => estimateOf(checkpoint, { ...options, contextSize, users })),
  );
  const { free } = asked;
  const mapped = options.mapping === 'read' ? '' : '   mapped, so that processes share them';
  const ordered =
    asked.orderedWeights > 0
      ? `in order      ${bytes(asked.orderedWeights)}   words of GPTQ\n`
      : '';
  const header = counts.map((users) => (users === 1 ? '1 user' : `${String(users)} users`));
  return [
    `weights       ${bytes(asked.weights)}${mapped}\n`,
    ordered,
    `scratch       ${bytes(asked.scratch)}\n`,
    `tokenizer     ${bytes(asked.tokenizer)}\n`,
    `a token       ${bytes(asked.bytesPerToken)}   keys and values, of each conversation\n`,
    `\ncontext    ${header.map((text) => text.padStart(12)).join('')}\n`,
    ...rows.map(
      (cells, i) =>
        `${String(contexts[i]).padEnd(11)}${cells.map((cell) => total(cell).padStart(12)).join('')}\n`,
    ),
    `\nfree: ${sizeText(free.bytes)} of ${free.limitedBy}`,
    rows.flat().some(({ fits }) => !fits) ? '; * does not fit\n' : '\n',
    ...asked.advice.map((text) => `to fit: ${text}\n`),
  ].join('');
}

function total({ total, fits }: MemoryEstimate): string {
  return `${sizeText(total)}${fits ? '' : ' *'}`;
}

function bytes(count: number): string {
  return sizeText(count).padStart(10);
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
