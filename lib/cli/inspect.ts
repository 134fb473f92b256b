/** `tramontane inspect`: what a model's files say, and what it will take of memory. */
import { Command, Option } from 'commander';
import {
  estimateMemory,
  inspect,
  TramontaneError,
  type Inspection,
  type MemoryEstimate,
  type MemoryOptions,
} from '../index';
import type { GptqFacts, SlidingWindow } from '../files/checkpoint';
import { openCheckpoint } from '../files/open';
import { checkMemoryOptions, estimateOf } from '../model/estimate-memory';
import { entry } from './entries';
import { modelPath } from './model-path';
import { integer } from './options';
import { EMBEDDED_MODEL, modelArgument } from './session';
import { paint } from './style';
import { sizeText } from './units';

const CONTEXTS = [2048, 4096, 8192, 16384, 32768];
const USERS = [1, 4, 16, 64];

interface Flags extends Pick<MemoryOptions, 'contextSize' | 'users' | 'kvCacheType' | 'mapping'> {
  readonly memory?: true;
  readonly json?: true;
}

export function inspectCommand(): Command {
  return new Command('inspect')
    .description("Shows what a model's files say, and what it takes of memory.")
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
      if (memory) {
        process.stdout.write(asJson(await estimateMemory(path, options)));
        return;
      }
      const facts = await inspect(path);
      process.stdout.write(json ? asJson(facts) : report(facts));
    });
}

function asJson(facts: object): string {
  return `${JSON.stringify(facts, null, 2)}\n`;
}

/** The parts, then totals by context and users; those that do not fit have a mark. */
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
  const marks = rows.flat().map(markOf);
  const mapped = options.mapping === 'read' ? '' : '   mapped, so that processes share them';
  const ordered =
    asked.orderedWeights > 0
      ? `in order      ${bytes(asked.orderedWeights)}   words of GPTQ\n`
      : '';
  const header = counts.map((users) =>
    (users === 1 ? '1 user' : `${String(users)} users`).padStart(10),
  );
  return [
    `weights       ${bytes(asked.weights)}${mapped}\n`,
    ordered,
    `scratch       ${bytes(asked.scratch)}\n`,
    `tokenizer     ${bytes(asked.tokenizer)}\n`,
    `a token       ${bytes(asked.bytesPerToken)}   keys and values, of each conversation\n`,
    `\n${paint('bold', `context    ${header.join('  ')}`)}\n`,
    ...rows.map(
      (cells, i) => `${String(contexts[i]).padEnd(11)}${cells.map(cellText).join('').trimEnd()}\n`,
    ),
    `\nfree: ${sizeText(free.bytes)} of ${free.limitedBy}\n`,
    marks.includes(SLOW) ? `${SLOW} weights do not stay in memory: tokens wait for the disk\n` : '',
    marks.includes(TOO_MUCH) ? `${TOO_MUCH} does not fit, even without the weights\n` : '',
    ...asked.advice.map((text) => `to fit: ${text}\n`),
  ].join('');
}

const SLOW = '*';
const TOO_MUCH = '!';

function markOf({ fits, own, free }: MemoryEstimate): string {
  if (fits) return '';
  return own > free.bytes ? TOO_MUCH : SLOW;
}

function cellText(estimate: MemoryEstimate): string {
  const mark = markOf(estimate);
  const text = `${sizeText(estimate.total).padStart(10)} ${mark.padEnd(1)}`;
  return mark === '' ? text : paint(mark === SLOW ? 'yellow' : 'red', text);
}

function bytes(count: number): string {
  return sizeText(count).padStart(10);
}

const INDENT = 15;
const KINDS = { gguf: 'GGUF', safetensors: 'safetensors', gptq: 'GPTQ' } as const;

function report(facts: Inspection): string {
  const { files, formats, heads, headSize, kvHeads, slidingWindow, chatTemplate } = facts;
  const weights = Object.entries(formats).map(([format, count]) => `${format} ${String(count)}`);
  const parts = files.length > 1 ? ` in ${String(files.length)} files` : '';
  const rows: (readonly [string, string] | undefined)[] = [
    ['model', facts.name ?? 'without a name'],
    ['kind', `${KINDS[facts.kind]}, ${facts.architecture}`],
    ['path', facts.path],
    ['size', `${sizeText(facts.fileBytes)}${parts}, ${count(facts.parameters)} parameters`],
    ['tensors', weights.join(', ')],
    ...gptqRows(facts.gptq),
    ['layers', `${facts.layers}, hidden size ${facts.hiddenSize}, feed-forward ${facts.ffnSize}`],
    ['heads', `${heads} of ${headSize}, ${kvHeads} of keys and values`],
    ['window', windowText(slidingWindow)],
    ['context', `${facts.contextSize} tokens`],
    ['rotation', `base ${facts.ropeBase}, ${facts.ropePairing}`],
    ['rms epsilon', String(Number(facts.rmsEpsilon.toPrecision(6)))],
    ['vocabulary', `${facts.vocabularySize} tokens (${facts.tokenizer})`],
    ['end tokens', facts.endTokens.join(', ') || 'none'],
    ['output', facts.tiedOutput ? 'by the embeddings' : 'of its own'],
    ['chat template', chatTemplate ? `${chatTemplate.length} characters` : 'none'],
  ];
  return rows
    .filter((row) => row !== undefined)
    .map(([name, text]) => entry(name, text, INDENT))
    .join('');
}

function gptqRows(gptq: GptqFacts | undefined): readonly (readonly [string, string])[] {
  if (gptq === undefined) return [];
  const { bits, groupSize, actOrder, symmetric, zeroFormat, plainModules, otherModules } = gptq;
  const group = groupSize === null ? 'a scale a column' : `groups of ${String(groupSize)}`;
  const order = actOrder ? 'act-order' : 'inputs in order';
  const points = symmetric === undefined ? '' : symmetric ? ', symmetric' : ', asymmetric';
  const others = Object.entries(otherModules).map(([name, how]) => `${name} ${how}`);
  return [
    ['quantized', `${String(bits)} bits, ${group}, ${order}${points}, zero points ${zeroFormat}`],
    ['not quantized', plainModules.join(', ') || 'none'],
    ...(others.length > 0 ? [['otherwise', others.join(', ')] as const] : []),
  ];
}

function windowText({ size, source }: SlidingWindow): string {
  if (size === null) return 'none';
  return `${String(size)} tokens, ${source === 'file' ? 'as the file says' : `by ${source}`}`;
}

/** @example 7.24 billion, 1.39 million */
function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(2)} billion`;
  return `${(parameters / 1e6).toFixed(2)} million`;
}
