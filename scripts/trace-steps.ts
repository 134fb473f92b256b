/**
 * What the engine's steps gave, one line a wake-up of JavaScript: the time since the one before, and
 * the requests that got a token or ended. Steps of a small model may share a wake-up; one that only
 * worked on prompts gives nothing and shows as time.
 *   npm run script scripts/trace-steps.ts -- [MODEL] [--prompts 16,200,16] [--tokens 12]
 * One request a prompt size, 5 ms apart.
 */
import './help';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Model } from '../lib';
import { native, type NativeEvent } from '../lib/model/native';

function trace(events: readonly NativeEvent[], milliseconds: number): void {
  const ids = (kind: 'token' | 'finish'): string =>
    events
      .filter((event) => event[kind] !== undefined)
      .map(({ id, finish }) => (kind === 'finish' ? `${id} (${String(finish)})` : id))
      .join(' ');
  const tokens = ids('token') && ` tokens of ${ids('token')}`;
  const ends = ids('finish') && ` end of ${ids('finish')}`;
  console.log(`${milliseconds.toFixed(1).padStart(8)} ms${tokens}${ends}`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      prompts: { type: 'string', default: '16,200,16' },
      tokens: { type: 'string', default: '12' },
    },
  });
  const [path = join(__dirname, '../models/breeze-Q4_0.gguf')] = positionals;
  const addon = native();
  const load = addon.load.bind(addon);
  let last = performance.now();
  Object.defineProperty(addon, 'load', {
    value: ((description, onEvents, onProgress) => {
      const traced: typeof onEvents = (events) => {
        const now = performance.now();
        trace(events, now - last);
        last = now;
        onEvents(events);
      };
      return load(description, traced, onProgress);
    }) satisfies typeof load,
  });
  await using model = await Model.load(path);
  last = performance.now();
  const running = [];
  for (const size of values.prompts.split(',').map(Number)) {
    const prompt = Array.from({ length: size }, (_, i) => 20 + ((i * 7 + running.length) % 900));
    const options = { maxTokens: Number(values.tokens), ignoreEos: true, seed: 1 };
    running.push(model.generate(prompt, options).result());
    await wait(5);
  }
  await Promise.all(running);
}

void main();
