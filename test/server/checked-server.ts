/** Servers whose every answer is held to OpenAI's description, whichever way a test asks for it. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { Model, type LoadOptions } from '../../lib';
import { createServer as createUnchecked, type Server, type ServerOptions } from '../../lib/server';
import { watchAnswer } from './openai-schema';

const found: string[] = [];
/** Answers in the test so far. */
let count = 0;

export function createServer(...options: Parameters<typeof createUnchecked>): Server {
  const server = createUnchecked(...options);
  const watched = new WeakSet<object>();
  const watch = ({ raw: request }: FastifyRequest, { raw: response }: FastifyReply): void => {
    if (watched.has(response)) return;
    watched.add(response);
    watchAnswer(request, response, ({ url, status }, problems) => {
      count += 1;
      found.push(...problems.map((problem) => `${url} ${status}: ${problem}`));
    });
  };
  server.addHook('onRequest', (request, reply, done) => {
    watch(request, reply);
    done();
  });
  // What is refused before that.
  server.addHook('onSend', (request, reply, _payload, done) => {
    watch(request, reply);
    done();
  });
  return server;
}

/** How many answers were looked at, and what was found since this was asked last. */
export function checkedAnswers(): { readonly count: number; readonly problems: readonly string[] } {
  const result = { count, problems: found.splice(0) };
  count = 0;
  return result;
}

afterEach(() => {
  expect(checkedAnswers().problems).toEqual([]);
});

/** The embedded model for the tests of a file, and servers of it that end with each test. */
export class Breeze {
  model!: Model;
  readonly #servers: Server[] = [];

  constructor(options: LoadOptions = {}) {
    beforeAll(async () => {
      this.model = await Model.load(EMBEDDED_MODEL, options);
    });
    afterEach(async () => {
      await Promise.all(this.#servers.splice(0).map((server) => server.close()));
    });
    afterAll(() => this.model.dispose());
  }

  serve(options: ServerOptions = {}): Server {
    const server = createServer({ breeze: this.model }, options);
    this.#servers.push(server);
    return server;
  }
}
