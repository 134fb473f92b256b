/** One generation: how it is read, how it ends, what it reports. */
import { join } from 'node:path';
import { Model, type GenerationChunk } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
let model: Model;
beforeAll(async () => {
  model = await Model.load(path);
});
afterAll(() => model.dispose());

const prompt = 'Once upon a time';
const greedy = { temperature: 0, maxTokens: 60 };

test('chunks, text() and result() have the same text and tokens, in any order of use', async () => {
  const generation = model.generate(prompt, greedy);
  const early = generation.text();
  const chunks: GenerationChunk[] = [];
  for await (const chunk of generation) chunks.push(chunk);
  const result = await generation.result();
  expect(await early).toBe(result.text);
  expect(await generation.text()).toBe(result.text);
  expect(chunks.map((chunk) => chunk.text).join('')).toBe(result.text);
  expect(chunks.flatMap((chunk) => chunk.tokenIds)).toEqual(result.tokenIds);
  expect(chunks.length).toBeGreaterThan(20);
  expect(result.finishReason).toBe('length');
  expect(result.usage.completionTokens).toBe(60);
  expect(result.usage.promptTokens).toBe(model.tokenizer.encode(prompt).length + 1);
});

test('a generation that ended can still be iterated', async () => {
  const generation = model.generate(prompt, greedy);
  const text = await generation.text();
  let again = '';
  for await (const chunk of generation) again += chunk.text;
  expect(again).toBe(text);
});

test('a second iterator is an error', () => {
  const generation = model.generate(prompt, { maxTokens: 1 });
  generation[Symbol.asyncIterator]();
  expect(() => generation[Symbol.asyncIterator]()).toThrow(/once/);
});

test('leaving the loop ends the generation and frees its pages', async () => {
  const generation = model.generate(prompt, { maxTokens: 4000, ignoreEos: true });
  for await (const chunk of generation) {
    expect(chunk.tokenIds.length).toBeGreaterThan(0);
    break;
  }
  const result = await generation.result();
  expect(result.finishReason).toBe('aborted');
  expect(result.usage.completionTokens).toBeLessThan(100);
  expect(model.info.kvCache.pagesInUse).toBe(0);
});

test('text of prompt and output read as one: the first piece keeps its space', async () => {
  const { text, tokenIds } = await model.generate(prompt, greedy).result();
  const ids = [...model.tokenizer.encode(prompt, { bos: true }), ...tokenIds];
  expect(prompt + text).toBe(model.tokenizer.decode(ids));
});

describe('abort', () => {
  test('by a signal in the middle: iteration ends normally, the text so far stays', async () => {
    const controller = new AbortController();
    const generation = model.generate(prompt, {
      maxTokens: 4000,
      ignoreEos: true,
      signal: controller.signal,
    });
    let text = '';
    let chunks = 0;
    for await (const chunk of generation) {
      text += chunk.text;
      if (++chunks === 5) controller.abort();
    }
    const result = await generation.result();
    expect(result.finishReason).toBe('aborted');
    expect(result.text).toBe(text);
  });

  test('by a signal that is aborted already: it ends with nothing', async () => {
    const generation = model.generate(prompt, { signal: AbortSignal.abort() });
    expect(await generation.text()).toBe('');
    expect((await generation.result()).finishReason).toBe('aborted');
  });

  test('after the end changes nothing', async () => {
    const controller = new AbortController();
    const generation = model.generate(prompt, { ...greedy, signal: controller.signal });
    await generation.text();
    controller.abort();
    expect((await generation.result()).finishReason).toBe('length');
  });
});

describe('stop', () => {
  let whole: string;
  beforeAll(async () => {
    whole = await model.generate(prompt, greedy).text();
  });

  test('a stop string that spans tokens ends the text before it', async () => {
    for (const length of [1, 3, 8, 15]) {
      const stop = whole.slice(40, 40 + length);
      const at = whole.indexOf(stop);
      const generation = model.generate(prompt, { ...greedy, stop: ['never in it', stop] });
      let streamed = '';
      for await (const chunk of generation) streamed += chunk.text;
      const result = await generation.result();
      expect(result.text).toBe(whole.slice(0, at));
      expect(streamed).toBe(result.text);
      expect(result.finishReason).toBe('stop');
      expect(result.stopSequence).toBe(stop);
      // The tokens end with the one that completes the stop string.
      const { tokenIds, usage } = result;
      expect(usage.completionTokens).toBe(tokenIds.length);
      const bytes = (ids: number[]): string =>
        Buffer.concat(ids.map((id) => model.tokenizer.tokenBytes(id))).toString();
      expect(bytes(tokenIds)).toContain(stop);
      expect(bytes(tokenIds.slice(0, -1))).not.toContain(stop);
    }
  });

  test('text that only begins like a stop string is not lost', async () => {
    const end = whole.slice(-6);
    const generation = model.generate(prompt, { ...greedy, stop: [`${end} and more`] });
    expect(await generation.text()).toBe(whole);
  });

  test('a stop token ends it and has no text', async () => {
    const { tokenIds } = await model.generate(prompt, greedy).result();
    const token = tokenIds[10] ?? 0;
    const result = await model.generate(prompt, { ...greedy, stopTokens: [token] }).result();
    const end = tokenIds.indexOf(token);
    expect(result.tokenIds).toEqual(tokenIds.slice(0, end + 1));
    expect(result.finishReason).toBe('stop');
    expect(result.stopSequence).toBeUndefined();
    expect(whole.startsWith(result.text)).toBe(true);
  });

  test('a stop string that is a control token ends it as a stop token does', async () => {
    const id = model.tokenizer.idOf('[PREFIX]')!;
    const options = { ...greedy, logitBias: new Map([[id, 1000]]) };
    const other = await model.generate(prompt, { ...options, maxTokens: 3 }).result();
    expect(other).toMatchObject({ tokenIds: [id, id, id], finishReason: 'length' });
    for (const ignoreEos of [false, true]) {
      const stop = ['never in it', '[PREFIX]'];
      const result = await model.generate(prompt, { ...options, stop, ignoreEos }).result();
      expect(result).toMatchObject({ text: '', tokenIds: [id], finishReason: 'stop' });
      expect(result.stopSequence).toBe('[PREFIX]');
    }
  });

  test('the end token ends it, unless it is ignored', async () => {
    const eos = model.tokenizer.eosId ?? -1;
    const options = { ...greedy, logitBias: new Map([[eos, 1000]]) };
    const result = await model.generate(prompt, options).result();
    expect(result.tokenIds).toEqual([eos]);
    expect(result.text).toBe('');
    expect(result.finishReason).toBe('stop');
    const ignored = await model.generate(prompt, { ...options, ignoreEos: true }).result();
    expect(ignored.tokenIds.length).toBe(60);
    expect(ignored.finishReason).toBe('length');
  });
});

describe('sampling', () => {
  test('a seed gives the same text again, and the one drawn is reported', async () => {
    const first = await model.generate(prompt, { maxTokens: 40, temperature: 1 }).result();
    const again = await model
      .generate(prompt, { maxTokens: 40, temperature: 1, seed: first.seed })
      .result();
    expect(again.tokenIds).toEqual(first.tokenIds);
    const other = await model
      .generate(prompt, { maxTokens: 40, temperature: 1, seed: first.seed + 1 })
      .result();
    expect(other.tokenIds).not.toEqual(first.tokenIds);
  });

  test('neutral values are the defaults', async () => {
    const options = { maxTokens: 40, temperature: 1, seed: 5 };
    const plain = await model.generate(prompt, options).text();
    const neutral = await model
      .generate(prompt, {
        ...options,
        topK: 0,
        topP: 1,
        minP: 0,
        repetitionPenalty: 1,
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: new Map(),
        stop: [],
        stopTokens: [],
      })
      .text();
    expect(neutral).toBe(plain);
  });

  test('top-k 1, a tiny top-p and min-p 1 are greedy', async () => {
    const expected = await model.generate(prompt, greedy).text();
    for (const filter of [{ topK: 1 }, { topP: 1e-9 }, { minP: 1 }]) {
      const options = { ...filter, temperature: 1, maxTokens: 60 };
      expect(await model.generate(prompt, options).text()).toBe(expected);
    }
  });

  test('penalties and bans keep tokens away', async () => {
    const { tokenIds } = await model
      .generate(prompt, { ...greedy, ignoreEos: true, presencePenalty: 100 })
      .result();
    expect(new Set(tokenIds).size).toBe(60);
    const plain = await model.generate(prompt, greedy).result();
    const banned = plain.tokenIds[0] ?? 0;
    const { tokenIds: without } = await model
      .generate(prompt, { ...greedy, logitBias: new Map([[banned, -Infinity]]) })
      .result();
    expect(without).not.toContain(banned);
  });

  test('allowedTokens allows only these', async () => {
    const allowed = [948, 944, 275];
    const { tokenIds } = await model
      .generate(prompt, { maxTokens: 50, allowedTokens: allowed, temperature: 2 })
      .result();
    expect(tokenIds.length).toBe(50);
    expect(tokenIds.every((id) => allowed.includes(id))).toBe(true);
  });

  test('allowedTokens of which all are banned is an error of this request alone', async () => {
    const other = model.generate(prompt, greedy);
    const failing = model.generate(prompt, {
      allowedTokens: [5],
      logitBias: new Map([[5, -Infinity]]),
    });
    await expect(failing.text()).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect((await other.result()).finishReason).toBe('length');
  });
});

test('logprobs are of the unmodified distribution, for the token and its alternatives', async () => {
  const generation = model.generate(prompt, { ...greedy, maxTokens: 10, logprobs: 5 });
  const ids = model.tokenizer.encode(prompt, { bos: true });
  let checked = 0;
  for await (const chunk of generation) {
    expect(chunk.logprobs?.length).toBe(chunk.tokenIds.length);
    for (const { token, logprob, top } of chunk.logprobs ?? []) {
      const logits = await model.logits(ids);
      const highest = Math.max(...logits);
      const logSum = highest + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - highest), 0));
      expect(logprob).toBeCloseTo((logits[token] ?? NaN) - logSum, 4);
      const sorted = [...logits].sort((a, b) => b - a).slice(0, 5);
      sorted.forEach((x, i) => {
        expect(top[i]?.logprob).toBeCloseTo(x - logSum, 4);
      });
      expect(top[0]?.token).toBe(token);
      ids.push(token);
      checked++;
    }
  }
  expect(checked).toBe(10);
});

test('timings and usage are filled in, and a repeated prompt is found in the cache', async () => {
  const long = [1, ...model.tokenizer.encode('the little dog ran to the park. '.repeat(12))];
  const first = await model.generate(long, { ...greedy }).result();
  expect(first.timings.promptMs).toBeGreaterThan(0);
  expect(first.timings.generateMs).toBeGreaterThan(0);
  expect(first.timings.queuedMs).toBeGreaterThanOrEqual(0);
  const again = await model.generate(long, { ...greedy }).result();
  expect(again.tokenIds).toEqual(first.tokenIds);
  expect(again.usage.cachedTokens % 32).toBe(0);
  expect(again.usage.cachedTokens).toBeLessThan(long.length);
});

describe('the context', () => {
  test('ends a generation with length, window or not', async () => {
    for (const slidingWindow of [undefined, false] as const) {
      await using small = await Model.load(path, {
        contextSize: 50,
        ...(slidingWindow === false && { slidingWindow }),
      });
      const { usage, finishReason } = await small.generate(prompt, { ignoreEos: true }).result();
      expect(usage.promptTokens + usage.completionTokens).toBe(50);
      expect(finishReason).toBe('length');
    }
  });

  test('a prompt longer than it is refused with both numbers; one as long ends at once', async () => {
    await using small = await Model.load(path, { contextSize: 50 });
    expect(() => small.generate(new Array<number>(51).fill(5))).toThrow(/51 tokens.*50/);
    const result = await small.generate(new Array<number>(50).fill(5)).result();
    expect(result.finishReason).toBe('length');
    expect(result.tokenIds).toEqual([]);
  });

  test('a prompt is never cut silently: it is refused, or all of it counts', async () => {
    await using small = await Model.load(path, { contextSize: 100 });
    expect(() => small.generate(new Array<number>(101).fill(5))).toThrow(/101.*100/);
    const { usage } = await small
      .generate(new Array<number>(99).fill(5), { maxTokens: 1 })
      .result();
    expect(usage.promptTokens).toBe(99);
  });
});
