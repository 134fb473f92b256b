/**
 * The speed of a model on the GPU beside what the GPU's memory allows, as a Markdown table.
 *   npm run script scripts/gpu-speed.ts -- MODEL LIMITS
 * LIMITS is what scripts/gpu-limits.cu prints. A token of a single generation reads every weight
 * but the embeddings once, so bandwidth by those bytes is the most tokens a second there can be.
 */
import './help';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { tokenCost } from '../lib/cli/machine-limits';
import { openCheckpoint } from '../lib/files/open';

interface Limits {
  readonly name: string;
  readonly statedGBs: number;
  readonly measuredGBs: number;
}

interface Speed {
  readonly tokensPerSecond: number;
  readonly range: [number, number];
}

interface Bench {
  readonly implementation: string;
  readonly prompts: [{ tokens: number; prefill: Speed; decode: Speed }];
  readonly streams: readonly (Speed & { count: number })[];
}

async function main(): Promise<void> {
  const [model = '', limitsText = ''] = process.argv.slice(2);
  const limits = JSON.parse(limitsText) as Limits;
  const { bytes } = tokenCost(await openCheckpoint(model));
  const command = ['bench', model, '--backend', 'cuda', '--prompt', '512', '--generate', '128'];
  const output = execFileSync(
    process.execPath,
    [join(__dirname, '../dist/cli/main.js'), ...command, '--repeat', '5', '--json'],
    { encoding: 'utf8' },
  );
  const { implementation, prompts, streams } = JSON.parse(output) as Bench;
  const [{ tokens, prefill, decode }] = prompts;
  const most = (limits.measuredGBs * 1e9) / bytes;
  const row = (name: string, part: Speed, limit: string): string => {
    const range = part.range.map((value) => value.toFixed(1)).join(' to ');
    return `| ${name} | ${part.tokensPerSecond.toFixed(1)} | ${range} | ${limit} |`;
  };
  const ofMost = `${((100 * decode.tokensPerSecond) / most).toFixed(0)}% of ${most.toFixed(1)}`;
  console.log(
    [
      `${limits.name}, ${implementation}: ${(bytes / 1e9).toFixed(3)} GB a token; memory ` +
        `${limits.measuredGBs} GB/s measured, ${limits.statedGBs} stated.`,
      '',
      '| | tokens/s | range | of the limit |\n|---|---|---|---|',
      row(`decode at ${tokens}`, decode, ofMost),
      row(`prefill ${tokens}`, prefill, ''),
      ...streams.map((some) => row(`${some.count} streams`, some, '')),
    ].join('\n'),
  );
}

void main();
