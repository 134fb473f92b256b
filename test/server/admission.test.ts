import { setMaxListeners } from 'node:events';
import { Admission, type AdmissionLimits, type Ticket } from '../../lib/server/admission';
import { ApiError } from '../../lib/server/protocol/errors';

const LIMITS: AdmissionLimits = {
  slots: 2,
  maxQueuedRequests: 1000,
  maxQueuedTokens: 1_000_000,
  maxPerKey: Infinity,
  tokensPerMinute: Infinity,
  hasKeys: false,
};

const never = new AbortController().signal;
setMaxListeners(0, never);

/** Lets callbacks of promises run. */
const settle = () => new Promise(setImmediate);

function caught(body: () => unknown): ApiError {
  try {
    body();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

class Line {
  readonly admission: Admission;
  readonly served: string[] = [];
  readonly running: Ticket[] = [];

  constructor(limits: Partial<AdmissionLimits> = {}, now?: () => number) {
    this.admission = new Admission({ ...LIMITS, ...limits }, now);
  }

  enter(key: string, name = key, signal = never, tokens = 10): void {
    for (const ticket of this.admission.admit(key, [tokens], signal)) {
      ticket.then(
        (slot) => {
          this.served.push(name);
          this.running.push(slot);
        },
        () => undefined,
      );
    }
  }

  /** Ends the oldest that runs. */
  async next(): Promise<void> {
    this.running.shift()?.end();
    await settle();
  }
}

test('so many run as there are slots, and the rest in order', async () => {
  const line = new Line();
  for (const name of ['1', '2', '3', '4']) line.enter('', name);
  await settle();
  expect(line.served).toEqual(['1', '2']);
  expect([line.admission.running, line.admission.queued]).toEqual([2, 2]);
  await line.next();
  expect(line.served).toEqual(['1', '2', '3']);
  await line.next();
  await line.next();
  await line.next();
  expect([line.admission.running, line.admission.queued, line.admission.queuedTokens]).toEqual([
    0, 0, 0,
  ]);
});

test("a thousand requests of one key delay another key's by no more than the next slot", async () => {
  const line = new Line();
  for (let i = 0; i < 1000; ++i) line.enter('many');
  await settle();
  line.enter('one');
  await line.next();
  expect(line.served).toEqual(['many', 'many', 'one']);
});

test('keys that both have many take turns', async () => {
  const line = new Line({ slots: 1 });
  for (let i = 0; i < 4; ++i) line.enter('a');
  for (let i = 0; i < 4; ++i) line.enter('b');
  await settle();
  for (let i = 0; i < 7; ++i) await line.next();
  expect(line.served.join('')).toBe('abababab');
});

test('where there are keys, the last slot is for one that has none', async () => {
  const line = new Line({ slots: 3, hasKeys: true });
  for (let i = 0; i < 5; ++i) line.enter('many');
  await settle();
  expect(line.served).toEqual(['many', 'many']);
  line.enter('one');
  await settle();
  expect(line.served).toEqual(['many', 'many', 'one']);
});

test('a ticket gives its slot back once', async () => {
  const line = new Line({ slots: 1 });
  for (let i = 0; i < 3; ++i) line.enter('');
  await settle();
  const [first] = line.running;
  first!.end();
  first!.end();
  await settle();
  expect(line.served).toHaveLength(2);
});

test('what is aborted in the queue leaves it', async () => {
  const line = new Line({ slots: 1 });
  const controller = new AbortController();
  line.enter('', 'runs');
  line.enter('', 'goes', controller.signal);
  line.enter('', 'stays');
  await settle();
  controller.abort();
  await line.next();
  expect(line.served).toEqual(['runs', 'stays']);
  expect([line.admission.queued, line.admission.queuedTokens]).toEqual([0, 0]);
  expect(line.admission.running).toBe(1);
});

test('one more than may wait is told when to come back', () => {
  const line = new Line({ slots: 1, maxQueuedRequests: 2 });
  for (let i = 0; i < 3; ++i) line.enter('');
  const error = caught(() => {
    line.enter('');
  });
  expect(error).toMatchObject({ status: 429, code: 'queue_full' });
  expect(error.retryAfter).toBeGreaterThanOrEqual(1);
});

test("twenty times what can be served, of one key, is told 429, and is in nobody else's way", async () => {
  const line = new Line({ slots: 4, maxQueuedRequests: 8, hasKeys: true });
  let refused = 0;
  const press = () => {
    for (let i = 0; i < 80; ++i) {
      try {
        line.enter('many');
      } catch (error) {
        expect(error).toMatchObject({ status: 429, code: 'queue_full' });
        refused += 1;
      }
    }
  };
  press();
  await settle();
  // Three run, since the last slot is kept, and eight wait.
  expect([line.admission.running, line.admission.queued, refused]).toEqual([3, 8, 69]);
  for (let i = 0; i < 10; ++i) {
    line.enter('one', `one ${i}`);
    await settle();
    expect(line.served.at(-1)).toBe(`one ${i}`);
    // It ends, as it began, before any that came earlier of the other key.
    line.running.pop()!.end();
    await settle();
    press();
    expect(line.admission.queued).toBe(8);
  }
  expect(refused).toBe(69 + 10 * 80);
});

test('a full queue has one place for each key that has nothing in it, and no second', () => {
  const line = new Line({ slots: 1, maxQueuedRequests: 2, hasKeys: true });
  for (let i = 0; i < 3; ++i) line.enter('many');
  line.enter('one');
  expect(caught(() => { line.enter('one'); })).toMatchObject({ code: 'queue_full' }); // prettier-ignore
  expect(caught(() => line.admission.admit('two', [1, 1], never))).toMatchObject({ status: 429 });
  line.enter('two');
  expect(line.admission.queued).toBe(4);
});

test('so are prompts of more tokens than may wait, but not where nobody does', () => {
  const line = new Line({ slots: 1, maxQueuedTokens: 100 });
  line.enter('', '', never, 1000);
  line.enter('', '', never, 90);
  expect(caught(() => { line.enter('', '', never, 11); })).toMatchObject({ status: 429 }); // prettier-ignore
  line.enter('', '', never, 10);
  expect(line.admission.queuedTokens).toBe(100);
});

test('a request of several generations is taken whole or not at all', () => {
  const { admission } = new Line({ slots: 2, maxQueuedRequests: 2 });
  expect(caught(() => admission.admit('', [1, 1, 1, 1, 1], never))).toMatchObject({ status: 429 });
  expect([admission.running, admission.queued]).toEqual([0, 0]);
  expect(admission.admit('', [1, 1, 1, 1], never)).toHaveLength(4);
});

test('a key may have so many at once', () => {
  const line = new Line({ maxPerKey: 2 });
  line.enter('a');
  line.enter('a');
  expect(caught(() => { line.enter('a'); })).toMatchObject({ code: 'key_concurrency' }); // prettier-ignore
  line.enter('b');
});

test('tokens a minute are given back with time', () => {
  let now = 0;
  const line = new Line({ tokensPerMinute: 600 }, () => now);
  line.enter('a');
  line.admission.charge('a', 700);
  const error = caught(() => {
    line.enter('a');
  });
  // 100 too many, at 10 a second.
  expect(error).toMatchObject({ status: 429, code: 'key_tokens_per_minute', retryAfter: 10 });
  line.enter('b');
  now = 10_000;
  line.enter('a');
});
