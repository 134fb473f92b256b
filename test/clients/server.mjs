/** A server of the embedded model, as a client finds it: a process of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const COMMAND = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const CHECK = fileURLToPath(new URL('check-answers.cjs', import.meta.url));
/** The CPU computes, whatever the machine has. */
const NO_PLUG_IN = fileURLToPath(new URL('../../scripts/no-plug-in', import.meta.url));

export const KEY = 'a-key-of-the-tests';
/** The second is the seed's. */
export const MODEL = 'breeze';
export const SEED_MODEL = 'mistralai/Mistral-7B-v0.1';

export class Server {
  #child;
  #log = '';
  #key;
  url;

  /** @param options of the command; "" as the key: everybody is let in */
  static async start(options = [], key = KEY) {
    const server = new Server();
    server.#key = key;
    const child = spawn(
      process.execPath,
      [
        ...['--require', CHECK, COMMAND, 'serve', '--port', '0'],
        ...['--served-model-name', MODEL, SEED_MODEL, ...options],
      ],
      {
        env: {
          ...process.env,
          TRAMONTANE_CUDA_PLUGIN: NO_PLUG_IN,
          TRAMONTANE_API_KEYS: key === '' ? undefined : key,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    server.#child = child;
    child.stderr.setEncoding('utf8').on('data', (text) => (server.#log += text));
    const [line] = await Promise.race([
      once(createInterface(child.stdout), 'line'),
      once(child, 'exit').then(() => {
        throw new Error(`tramontane serve ended (is dist built?): ${server.#log}`);
      }),
    ]);
    server.url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
    assert.ok(server.url, `the first line of standard output is '${line}'`);
    return server;
  }

  get v1() {
    return `${this.url}/v1`;
  }

  /** Generations that run or wait, when that is what is wanted, at the latest after 30 s. */
  async untilBusy(isWanted) {
    for (let tries = 0; ; tries += 1) {
      const headers = this.#key === '' ? {} : { authorization: `Bearer ${this.#key}` };
      const metrics = await (await fetch(`${this.url}/metrics`, { headers })).text();
      const found = metrics.matchAll(/^tramontane_num_requests_(?:running|waiting)\{.*\} (\d+)$/gm);
      const busy = [...found].reduce((sum, [, count]) => sum + Number(count), 0);
      if (isWanted(busy)) return;
      assert.ok(tries < 600, `${busy} requests run or wait still`);
      await sleep(50);
    }
  }

  /** Ends it, and says what it should not have come to. */
  async stop() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const [status] = await ended;
    assert.equal(status, 0, this.#log);
    const failures = this.#log.split('\n').filter((line) => /"level":[56]0\b/.test(line));
    assert.deepEqual(failures, [], 'the server logged errors');
  }
}

/** A server for the tests of a file. */
export function serving(options, key = KEY) {
  const holder = {};
  before(async () => {
    holder.server = await Server.start(options, key);
  });
  after(() => holder.server?.stop());
  return holder;
}

/** A tool that the embedded model can call in few tokens, as JSON Schema. */
export const COLOURS = {
  type: 'object',
  properties: { colour: { type: 'string', enum: ['red', 'green', 'blue'] } },
  required: ['colour'],
  additionalProperties: false,
};
