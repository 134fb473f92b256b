/**
 * The server, `tramontane/server`: OpenAI's API over models of this package. It needs fastify,
 * @fastify/swagger, @fastify/cors and prom-client beside the package.
 */
export { createServer, type Server } from './server';
export { handler, type Handler } from './handler';
export type { Models } from './models';
export type { ServedModel, ServerOptions } from './options';
