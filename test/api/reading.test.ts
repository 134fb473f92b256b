/** How a generation is read: by one iterator, at the reader's pace, or as a whole. */
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Model, type Generation, type GenerationChunk } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
const prompt = 'Once upon a time';
const greedy = { temperature: 0, maxTokens: 60 };
/** Longer than any test waits for. */
const endless = { maxTokens: 4000, ignoreEos: true };
/** Tokens that native computes ahead of what was taken, as README says. */
const MOST_AHEAD = 8;

let model: Model;
let whole: string;
beforeAll(async () => {
  model = await Model.load(path);
  whole = await model.generate(prompt, greedy).text();
});
afterAll(() => model.dispose());

async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of iterable) all.push(one);
  return all;
}

/** Until `condition` holds; a test that waits forever fails by its time limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

describe('the iterator', () => {
  test('calls of next() wait in line and are answered in order, like an async generator', async () => {
    const expected = await collect(model.generate(prompt, greedy));
    const iterator = model.generate(prompt, greedy)[Symbol.asyncIterator]();
    const calls = Array.from({ length: expected.length + 3 }, () => iterator.next());
    const results = await Promise.all(calls);
    const texts = results.map(({ value }) => (value as GenerationChunk | undefined)?.text);
    expect(texts).toEqual([...expected.map(({ text }) => text), undefined, undefined, undefined]);
    expect(results.map(({ done }) => done)).toEqual([
      ...expected.map(() => false),
      true,
      true,
      true,
    ]);
  });

  test('after return() it hands out nothing more, whatever had come', async () => {
    const iterator = model.generate(prompt, endless)[Symbol.asyncIterator]();
    await iterator.next();
    await sleep(50); // Further chunks are there now.
    const waiting = [iterator.next(), iterator.next()];
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    expect((await waiting[1])?.done).toBe(false); // Asked for, and there, before return().
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(model.info.kvCache.pagesInUse).toBe(0);
  });

  test('return() answers the calls that still wait', async () => {
    const iterator = model.generate(prompt, endless)[Symbol.asyncIterator]();
    const waiting = Array.from({ length: 3 }, () => iterator.next());
    await iterator.return?.();
    for (const result of await Promise.all(waiting)) expect(result.done).toBe(true);
  });

  test('an error in a generator that passes it on ends the generation', async () => {
    async function* passOn(generation: Generation): AsyncGenerator<GenerationChunk> {
      yield* generation;
    }
    const generation = model.generate(prompt, endless);
    const generator = passOn(generation);
    await generator.next();
    await expect(generator.throw(new Error('enough'))).rejects.toThrow('enough');
    expect((await generation.result()).finishReason).toBe('aborted');
  });

  test('a failure is thrown once, and then there is nothing more', async () => {
    const impossible = { allowedTokens: [5], logitBias: { 5: -Infinity } };
    const iterator = model.generate(prompt, impossible)[Symbol.asyncIterator]();
    const [first, second] = [iterator.next(), iterator.next()];
    await expect(first).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(await second).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test.each([
    ['length', {}],
    ['stop', { stop: ' the' }],
    ['stop', { logitBias: { 2: 1000 } }],
  ] as const)('the last chunk says why it ended: %s %p', async (reason, options) => {
    const chunks = await collect(model.generate(prompt, { ...greedy, ...options }));
    expect(chunks.map(({ finishReason }) => finishReason)).toEqual([
      ...chunks.slice(1).map(() => undefined),
      reason,
    ]);
  });
});

describe('the pace', () => {
  test('a paused loop pauses the generation, at most 8 tokens ahead of what it took', async () => {
    const generation = model.generate(prompt, { ...endless, maxTokens: 200, temperature: 0 });
    let taken = 0;
    let chunks = 0;
    let text = '';
    for await (const chunk of generation) {
      text += chunk.text;
      taken += chunk.tokenIds.length;
      if (++chunks % 10 !== 0) continue;
      await sleep(50);
      const { completionTokens } = generation.toJSON();
      expect(completionTokens - taken).toBeLessThanOrEqual(MOST_AHEAD);
    }
    const unpaused = model.generate(prompt, { ...endless, maxTokens: 200, temperature: 0 });
    expect(text).toBe(await unpaused.text());
  });

  test('a reader that waits gets on, however many tokens a piece of text takes', async () => {
    // All of the text is held back, since it may become the stop string.
    const stop = `${whole.slice(0, 100)} and then something else`;
    const generation = model.generate(prompt, { ...greedy, stop });
    const chunks = await collect(generation);
    expect(chunks.map(({ text }) => text).join('')).toBe(whole);
    expect(chunks[0]?.tokenIds.length).toBeGreaterThan(2 * MOST_AHEAD);
  });

  test('one that nobody reads is finished when its result or its text is awaited', async () => {
    const { usage } = await model.generate(prompt, { ...endless, maxTokens: 300 }).result();
    expect(usage.completionTokens).toBe(300);
    expect(await model.generate(prompt, greedy).text()).toBe(whole);
  });

  test('a paused one goes on when its result is asked for', async () => {
    const generation = model.generate(prompt, greedy);
    const iterator = generation[Symbol.asyncIterator]();
    await iterator.next();
    expect((await generation.result()).text).toBe(whole);
  });

  test('one that nobody reads and nobody awaits pauses after 8 tokens, until somebody does', async () => {
    const generation = model.generate(prompt, greedy);
    await until(() => generation.toJSON().completionTokens >= MOST_AHEAD);
    await sleep(50);
    expect(generation.toJSON()).toMatchObject({
      state: 'running',
      completionTokens: MOST_AHEAD,
    });
    expect(await generation.text()).toBe(whole);
  });

  test('the text of a slow reader is the same', async () => {
    let text = '';
    for await (const piece of model.generate(prompt, greedy).textStream()) {
      text += piece;
      await sleep(1);
    }
    expect(text).toBe(whole);
  });
});

describe('ending it', () => {
  test('abort() ends it as aborted, at any time, and again changes nothing', async () => {
    const unread = model.generate(prompt, endless);
    unread.abort();
    expect((await unread.result()).finishReason).toBe('aborted');
    const read = model.generate(prompt, endless);
    const chunks: GenerationChunk[] = [];
    for await (const chunk of read) {
      chunks.push(chunk);
      if (chunks.length === 5) read.abort();
    }
    read.abort();
    const result = await read.result();
    expect(chunks.at(-1)?.finishReason).toBe('aborted');
    expect(result.finishReason).toBe('aborted');
    expect(result.text).toBe(chunks.map(({ text }) => text).join(''));
    const ended = model.generate(prompt, greedy);
    await ended.result();
    ended.abort();
    expect((await ended.result()).finishReason).toBe('length');
  });

  test('`await using` ends it at the end of the block', async () => {
    let generation: Generation;
    {
      await using block = model.generate(prompt, endless);
      generation = block;
      await block[Symbol.asyncIterator]().next();
    }
    expect(generation.toJSON()).toMatchObject({ state: 'ended', finishReason: 'aborted' });
    expect(model.info.kvCache.pagesInUse).toBe(0);
  });

  test('cut after native was done, it says what is true of the tokens it has', async () => {
    const busy = (milliseconds: number): void => {
      const end = Date.now() + milliseconds;
      while (Date.now() < end);
    };
    const three = { maxTokens: 3, ignoreEos: true };
    for (const cut of [
      (generation: Generation) => generation.abort(),
      (generation: Generation) => void generation[Symbol.asyncIterator]().return?.(),
    ]) {
      const generation = model.generate(prompt, three);
      busy(300); // Native finishes meanwhile; its events wait for this thread.
      cut(generation);
      const { finishReason, tokenIds } = await generation.result();
      expect([finishReason, tokenIds.length]).toEqual(['aborted', 0]);
    }
    const end = model.generate(prompt, { ...greedy, allowedTokens: [2] });
    busy(300);
    end.abort();
    expect(await end.result()).toMatchObject({ finishReason: 'aborted', tokenIds: [] });
  });
});

describe('as a stream', () => {
  const pieces = (): AsyncIterable<string> => model.generate(prompt, greedy).textStream();

  test('textStream() is the text alone, in pieces that are never empty', async () => {
    const all = await collect(pieces());
    expect(all.join('')).toBe(whole);
    expect(all.length).toBeGreaterThan(20);
    expect(all).not.toContain('');
    const generation = model.generate(prompt, { maxTokens: 1 });
    await collect(generation.textStream());
    expect(() => generation[Symbol.asyncIterator]()).toThrow(/once/);
  });

  test('it makes a Readable, a ReadableStream and the body of a Response', async () => {
    expect((await collect(Readable.from(pieces()))).join('')).toBe(whole);
    const bytes = () => ReadableStream.from(pieces()).pipeThrough(new TextEncoderStream());
    expect(await new Response(bytes()).text()).toBe(whole);
    const cancelled = model.generate(prompt, endless);
    const reader = ReadableStream.from(cancelled.textStream()).getReader();
    await reader.read();
    await reader.cancel();
    expect((await cancelled.result()).finishReason).toBe('aborted');
  });

  describe('over HTTP', () => {
    let server: Server;
    let generation: Generation;
    beforeAll(async () => {
      server = createServer((incoming, response) => {
        generation = model.generate(prompt, incoming.url === '/endless' ? endless : greedy);
        response.on('close', () => generation.abort());
        pipeline(generation.textStream(), response).catch(() => undefined);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    });
    afterAll(() => server.close());
    const get = (url: string) => {
      const { port } = server.address() as AddressInfo;
      return request({ port, path: url, agent: false });
    };

    test('a client gets all of the text', async () => {
      const asked = get('/');
      const response = new Promise<Readable>((resolve) => asked.on('response', resolve));
      asked.end();
      expect(Buffer.concat(await collect<Buffer>(await response)).toString()).toBe(whole);
      expect((await generation.result()).finishReason).toBe('length');
    });

    test('a client that leaves ends its generation', async () => {
      const asked = get('/endless');
      asked.on('error', () => undefined);
      const response = new Promise<Readable>((resolve) => asked.on('response', resolve));
      asked.end();
      (await response).once('data', () => asked.destroy());
      await until(() => generation.toJSON().state === 'ended');
      expect((await generation.result()).finishReason).toBe('aborted');
    });
  });
});
