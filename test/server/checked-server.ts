/** Servers whose every answer is held to OpenAI's description, whichever way a test asks for it. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { createServer as createUnchecked, type Server } from '../../lib/server';
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
