/** The server as a function, for servers that exist already. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Models } from './models';
import type { ServerOptions } from './options';
import { createServer } from './server';

/** Answers a request of node:http, or of what is built on it: express, connect, a custom server of next. */
export type Handler = ((request: IncomingMessage, response: ServerResponse) => void) & {
  /** Ends what runs; afterwards requests are refused. */
  close(): Promise<void>;
};

/**
 * The routes of {@link createServer} without a server: `http.createServer(handler(model))`, or
 * `app.use(handler(model))` in express, before what reads bodies.
 * @throws TramontaneError INVALID_OPTION
 */
export function handler(models: Models, options: ServerOptions = {}): Handler {
  const app = createServer(models, options);
  const ready = app.ready();
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    ready.then(
      () => {
        app.routing(request, response);
      },
      (error: unknown) => {
        response.destroy(error as Error);
      },
    );
  };
  return Object.assign(handle, { close: () => app.close() });
}
