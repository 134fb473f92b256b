/** How a generation ends when native's last word and what it was asked for differ. */
import { ActiveGeneration } from '../../lib/model/active-generation';
import type { NativeEvent } from '../../lib/model/native';
import { loadTokenizer, type Tokenizer } from '../../lib';
import { join } from 'node:path';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(join(__dirname, '../../models/breeze-Q4_0.gguf'));
});

/** A generation with the stop string ` Lily`, and what it asked of native. */
function begun(): { generation: ActiveGeneration<unknown>; aborts: () => number } {
  const generation = new ActiveGeneration({
    tokenizer,
    seed: 1,
    stop: [' Lily'],
    stopTokens: Int32Array.of(2),
    logprobs: false,
    atStart: false,
    calls: undefined,
    isChat: false,
    schema: undefined,
    onEnd: () => undefined,
  });
  let aborts = 0;
  generation.begin(1, {
    abort: () => {
      ++aborts;
    },
    acknowledge: () => undefined,
    await: () => undefined,
  });
  return { generation, aborts: () => aborts };
}

const tokens = (text: string): NativeEvent[] =>
  tokenizer.encode(text).map((token) => ({ id: 1, token, logprob: 0, top: [] }));

const FAILED: NativeEvent = {
  id: 1,
  finish: 'failed',
  error: Object.assign(new Error('the device is gone'), { code: 'COMPUTE_FAILED' as const }),
};

test('a later failure does not reject one whose stop string was complete', async () => {
  const { generation, aborts } = begun();
  for (const event of tokens('there was Lily')) generation.receive(event);
  expect(aborts()).toBe(1);
  generation.receive(FAILED);
  expect(await generation.result()).toMatchObject({
    text: ' there was',
    finishReason: 'stop',
    stopSequence: ' Lily',
  });
});

test('nor one that was aborted', async () => {
  const { generation } = begun();
  for (const event of tokens('there was')) generation.receive(event);
  generation.abort();
  generation.receive(FAILED);
  expect(await generation.result()).toMatchObject({ text: ' there was', finishReason: 'aborted' });
});

test('a failure before that rejects it', async () => {
  const { generation } = begun();
  for (const event of tokens('there was Li')) generation.receive(event);
  generation.receive(FAILED);
  await expect(generation.result()).rejects.toMatchObject({ code: 'COMPUTE_FAILED' });
});

test('tokens that came after the stop string are dropped', async () => {
  const { generation } = begun();
  for (const event of tokens('there was Lily and more')) generation.receive(event);
  generation.receive({ id: 1, finish: 'length' });
  expect(await generation.result()).toMatchObject({ text: ' there was', finishReason: 'stop' });
});
