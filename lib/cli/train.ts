/** `tramontane train`: an adapter from a file of samples. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { TargetModule, TrainingStep, TrainResult } from '../index';
import {
  addLoadOptions,
  integer,
  number,
  trainFlags,
  type LoadFlags,
  type TrainFlags,
} from './options';
import { Progress } from './progress';
import { EMBEDDED_MODEL, modelArgument, withModel } from './session';
import { timeText } from './units';

interface Flags extends TrainFlags, LoadFlags {
  readonly data: string;
  readonly json?: true;
}

export function trainCommand(): Command {
  const command = new Command('train')
    .description('Trains an adapter (LoRA) on samples; the model stays as it is.')
    .addArgument(modelArgument())
    .requiredOption('-d, --data <file>', 'JSONL, a sample a line (see below)')
    .requiredOption('-o, --output <directory>', 'where the adapter goes')
    .optionsGroup('Adapter:')
    .option('--rank <n>', 'of the adapters (default: 16)', integer)
    .option('--alpha <x>', 'their part is multiplied by alpha / rank (default: 2 * rank)', number)
    .option('--rs-lora', 'by alpha / sqrt(rank) instead')
    .option('--targets <names>', 'linear layers, such as q_proj,v_proj (default: all seven)', names)
    .option('--dropout <x>', "part of an adapter's inputs that is dropped (default: 0)", number)
    .option('--adapter <directory>', 'go on from an adapter')
    .optionsGroup('Training:')
    .option('--epochs <n>', 'passes over the data (default: 3)', integer)
    .option('--steps <n>', 'steps of the optimizer, instead of epochs', integer)
    .option('--batch-size <n>', 'sequences a step (default: 4)', integer)
    .option('--sequence-length <n>', 'most tokens of a sequence', integer)
    .option('--no-packing', 'a sequence for each sample')
    .option('--learning-rate <x>', 'the highest (default: 2e-4)', number)
    .addOption(
      new Option('--schedule <name>', 'how the learning rate falls').choices([
        'cosine',
        'linear',
        'constant',
      ]),
    )
    .option('--warmup-steps <n>', 'steps in which it rises (default: 3 in 100)', integer)
    .option('--weight-decay <x>', 'of AdamW (default: 0)', number)
    .option('--max-gradient-norm <x>', 'a longer gradient is scaled down to it; 0: off', number)
    .option('--seed <n>', 'the same seed gives the same adapter (default: 0)', integer)
    .option('--no-shuffle', 'samples in the order of the file')
    .optionsGroup('Evaluation and checkpoints:')
    .option('--evaluation <part|file>', 'what is not trained on: 0.1, or a JSONL file', partOrFile)
    .option('--evaluate-every <n>', 'steps (default: once a pass)', integer)
    .option('--patience <n>', 'stop after so many evaluations that were no better', integer)
    .option('--checkpoint-every <n>', 'steps; 0: none (default: 50)', integer)
    .option('--resume', 'go on from the checkpoint in the output directory')
    .option('--json', 'write a JSON object for each step, and one of the result')
    .addHelpText(
      'after',
      `
A line of the file is one of
  {"messages": [{"role": "user", "content": "..."}, ...]}
  {"prompt": "...", "completion": "..."}
  {"text": "..."}
The assistant's messages are learned, but for those with "weight": 0; tools
stand beside messages. All lines are checked before anything starts. Ctrl-C ends
the training and keeps what there is.

Examples:
  $ tramontane train -d stories.jsonl -o my-style --evaluation 0.1
  $ tramontane train mistral-7b-instruct.gguf -d data.jsonl -o adapter
  $ tramontane train mistral-7b-instruct.gguf -d data.jsonl -o adapter --resume`,
    )
    .action(train);
  return addLoadOptions(command);
}

async function train(path: string = EMBEDDED_MODEL, flags: Flags): Promise<void> {
  const { data, json } = flags;
  await withModel(path, flags, async (model, signal) => {
    const progress = new Progress();
    try {
      const result = await model.train(data, {
        ...trainFlags(flags),
        signal,
        onStep: (step) => {
          if (json) process.stdout.write(`${JSON.stringify(step)}\n`);
          else report(step, progress);
        },
      });
      progress.clear();
      process.stdout.write(json ? `${JSON.stringify(result)}\n` : `${resultText(result)}\n`);
    } finally {
      progress.clear();
    }
  });
}

/** On a terminal one line that changes; elsewhere, and for evaluations, lines that stay. */
function report(step: TrainingStep, progress: Progress): void {
  const line = stepText(step);
  if (step.evaluation !== undefined || !process.stderr.isTTY) {
    progress.clear();
    process.stderr.write(`${line}\n`);
  } else {
    progress.show(line);
  }
}

export function stepText(step: TrainingStep): string {
  const { evaluation } = step;
  return (
    `step ${step.step} of ${step.steps}  loss ${step.loss.toFixed(4)}  ` +
    `${step.tokensPerSecond.toFixed(1)} tokens/s  ${timeText(step.remainingSeconds)} left` +
    (evaluation === undefined
      ? ''
      : `  kept apart: loss ${evaluation.loss.toFixed(4)}, perplexity ${evaluation.perplexity.toFixed(3)}`)
  );
}

function resultText(result: TrainResult): string {
  const { reason, steps, loss, output, evaluationBefore, evaluation } = result;
  const ended = { finished: 'trained', aborted: 'interrupted after', early: 'stopped early after' };
  const perplexities =
    evaluationBefore === undefined || evaluation === undefined
      ? ''
      : `; perplexity of what was kept apart ${evaluationBefore.perplexity.toFixed(3)} before, ` +
        `${evaluation.perplexity.toFixed(3)} after`;
  const last = loss === undefined ? '' : `, loss ${loss.toFixed(4)}`;
  return `${ended[reason]} ${steps} steps${last}${perplexities}; the adapter is in ${output}`;
}

function names(text: string): TargetModule[] {
  return text.split(/\s*,\s*|\s+/) as TargetModule[];
}

function partOrFile(text: string): number | string {
  if (text.trim() === '') throw new InvalidArgumentError('It must be a number or a file.');
  const part = Number(text);
  return Number.isNaN(part) ? text : part;
}
