/**
 * Has a server of the embedded model pressed by twenty times as many clients as it serves at once, all
 * of one key, who soon try again, while another key asks for one thing after the other. Ends with 1
 * where one of these does not hold: what is refused is told 429 and when to come back; what is
 * accepted has its first token within what the queue promises, its length times the service time by
 * slots; each request of the other key is served within two of its own service times, which are
 * measured beside a server that is full without a queue.
 *   npm run script scripts/overload-server.ts -- [--seconds 10] [--times 20] [--others 10]
 */
import './help';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { median } from '../lib/cli/statistics';
import { cpuName } from './machine';
import { ServerProcess } from './soak/process';

const SLOTS = 8;
const QUEUED = 16;
const KEYS = { many: 'sk-many-12345', other: 'sk-other-12345' } as const;

/** Between a refusal and the next try, so that the clients leave the server a processor. */
const PAUSE_MS = 100;

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly firstMs: number;
  readonly totalMs: number;
}

class Clients {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true });
  #sent = 0;

  constructor(port: number) {
    this.#port = port;
  }

  async ask(key: keyof typeof KEYS): Promise<Answer> {
    const start = performance.now();
    const sent = request({
      agent: this.#agent,
      host: '127.0.0.1',
      port: this.#port,
      method: 'POST',
      path: '/v1/completions',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEYS[key]}` },
    });
    const body = { prompt: `Day ${this.#sent++}`, max_tokens: 100, ignore_eos: true, stream: true };
    sent.end(JSON.stringify(body));
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    // The head of a stream comes with its first token.
    const firstMs = performance.now() - start;
    response.resume();
    await once(response, 'end');
    return {
      status: response.statusCode!,
      retryAfter: response.headers['retry-after'],
      firstMs,
      totalMs: performance.now() - start,
    };
  }

  /** As many at once, each one request after the other, until stopped. */
  async press(atOnce: number, stop: AbortSignal): Promise<Answer[]> {
    const answers: Answer[] = [];
    const one = async (): Promise<void> => {
      while (!stop.aborted) {
        const answer = await this.ask('many');
        answers.push(answer);
        if (answer.status === 429) await delay(PAUSE_MS);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, one));
    return answers;
  }

  async inTurn(count: number): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (let i = 0; i < count; ++i) {
      answers.push(await this.ask('other'));
      await delay(50);
    }
    return answers;
  }

  close(): void {
    this.#agent.destroy();
  }
}

const totals = (answers: readonly Answer[]): number[] => answers.map(({ totalMs }) => totalMs);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      times: { type: 'string', default: '20' },
      others: { type: 'string', default: '10' },
    },
  });
  const [seconds, times, others] = [values.seconds, values.times, values.others].map(Number) as [
    number,
    number,
    number,
  ];
  const server = await ServerProcess.start({
    model: 'models/breeze-Q4_0.gguf',
    maxRunning: SLOTS,
    nice: undefined,
    options: {
      apiKeys: Object.entries(KEYS).map(([name, key]) => `${name}:${key}`),
      maxQueuedRequests: QUEUED,
    },
  });
  const clients = new Clients(server.port);
  const say = (what: string): void => {
    console.log(what);
  };
  say(`${cpuName()}, ${availableParallelism()} CPUs`);
  await clients.inTurn(3);

  // Full, without a queue: what it can serve, and what another key's request takes there.
  const stop = AbortSignal.timeout(seconds * 1000);
  const [full, own] = await Promise.all([clients.press(SLOTS - 1, stop), clients.inTurn(others)]);
  const capacity = full.length / seconds;
  const serviceMs = median(totals(full));
  const ownMs = median(totals(own));
  say(`serves ${capacity.toFixed(1)} requests/s, each in ${serviceMs.toFixed(0)} ms (median)`);

  const ending = new AbortController();
  const start = performance.now();
  const offered = clients.press(times * SLOTS, ending.signal);
  await delay(1000);
  const served = await clients.inTurn(others);
  await delay(seconds * 1000);
  ending.abort();
  const all = await offered;
  const rate = all.length / ((performance.now() - start) / 1000);
  clients.close();
  server.stop();

  const accepted = all.filter(({ status }) => status === 200);
  const refused = all.filter(({ status }) => status === 429);
  const promiseMs = (QUEUED / (SLOTS - 1) + 1) * Math.max(...totals(full));
  const firsts = accepted.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
  const p99 = firsts[Math.floor(0.99 * (firsts.length - 1))]!;
  const worst = Math.max(...totals(served));
  say(
    `offered ${all.length}, ${(rate / capacity).toFixed(0)} times that: ${accepted.length} accepted, ${refused.length} told 429`,
  );
  say(
    `first token of those accepted: median ${median(firsts).toFixed(0)} ms, p99 ${p99.toFixed(0)} ms; ` +
      `the queue promises ${promiseMs.toFixed(0)} ms`,
  );
  say(
    `the other key: ${median(totals(served)).toFixed(0)} ms (worst ${worst.toFixed(0)}) beside ` +
      `${ownMs.toFixed(0)} ms (worst ${Math.max(...totals(own)).toFixed(0)}) of a full server`,
  );
  const checks: readonly (readonly [string, boolean])[] = [
    ['all are accepted or told 429', accepted.length + refused.length === all.length],
    ['there are refusals', refused.length > 0],
    ['refusals say when', refused.every(({ retryAfter }) => Number(retryAfter) >= 1)],
    ['accepted ones keep the promise (p99)', p99 <= promiseMs],
    ['the other key is never refused', served.every(({ status }) => status === 200)],
    ["the other key's are served within two service times", worst <= 2 * Math.max(...totals(own))],
  ];
  for (const [what, holds] of checks) {
    say(`${holds ? 'so' : 'NOT SO'}: ${what}`);
    if (!holds) process.exitCode = 1;
  }
}

void main();
