/**
 * How long the event loop is held up while many generations run: percentiles of its delay beyond a
 * timer's resolution of 1 ms.
 *   npm run script scripts/event-loop-delay.ts [MODEL] [STREAMS]
 */
import './help';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Model } from '../lib';

async function main(): Promise<void> {
  const [path = join(__dirname, '../models/breeze-Q4_0.gguf'), streams = '32'] =
    process.argv.slice(2);
  await using model = await Model.load(path);
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const prompt = new Array<number>(200).fill(20);
  const results = await Promise.all(
    Array.from({ length: Number(streams) }, (_, i) =>
      model.generate([...prompt, 20 + i], { maxTokens: 300, ignoreEos: true }).result(),
    ),
  );
  histogram.disable();
  const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
  const ms = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(2);
  console.log(
    `${String(tokens)} tokens in ${streams} streams; event-loop delay: ` +
      `p50 ${ms(histogram.percentile(50))} ms, p99 ${ms(histogram.percentile(99))} ms, ` +
      `max ${ms(histogram.max)} ms (the timer's own 1 ms included)`,
  );
}

void main();
