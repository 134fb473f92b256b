/** POST /v1/embeddings, which cannot be answered yet. */
import type { Context } from '../context';
import { ApiError } from '../protocol/errors';

export function embeddingRoutes({ app }: Context): void {
  app.post('/v1/embeddings', { schema: { summary: 'Not to be had yet: 501.' } }, (_, reply) => {
    // OpenAI's clients try again after a 5xx.
    void reply.header('x-should-retry', 'false');
    const message =
      "there are no embeddings yet: a model's hidden states cannot be read; " +
      'use a server of embedding models beside this one';
    throw new ApiError(501, message, { code: 'not_implemented' });
  });
}
