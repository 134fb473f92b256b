/** GET /v1/models, /health, /ready, /metrics */
import { hasFim } from '../../chat/mistral';
import type { Context } from '../context';
import type { Served } from '../models';
import { shuttingDown } from '../protocol/errors';

function modelObject(name: string, served: Served): object {
  return {
    id: name,
    object: 'model',
    created: served.created,
    owned_by: 'tramontane',
    // As vLLM has them: what clients of it look at.
    root: served.name,
    parent: served.parent ?? null,
    max_model_len: served.model.info.contextSize,
    // As Mistral has them: its clients take no model without.
    type: 'base',
    max_context_length: served.model.info.contextSize,
    capabilities: {
      completion_chat: served.model.info.chat !== undefined,
      completion_fim: hasFim(served.model.tokenizer),
      function_calling: served.model.info.chat?.tools === true,
      moderation: true,
      fine_tuning: false,
      vision: false,
    },
  };
}

export function modelRoutes({ app, models }: Context): void {
  app.get('/v1/models', { schema: { summary: 'The models and adapters there are.' } }, () => ({
    object: 'list',
    data: Array.from(models.entries, ([name, served]) => modelObject(name, served)),
  }));
  // Names such as mistralai/Mistral-7B-v0.1 have a slash, which clients may or may not escape.
  app.get<{ Params: { '*': string } }>(
    '/v1/models/*',
    { schema: { summary: 'One model.' } },
    ({ params }) => modelObject(params['*'], models.find(params['*'])),
  );
}

export function stateRoutes(context: Context & { isDraining(): boolean }): void {
  const { app, metrics } = context;
  app.get('/health', { schema: { summary: 'The server runs.' }, config: { isOpen: true } }, () => ({
    status: 'ok',
  }));
  app.get(
    '/ready',
    { schema: { summary: 'The server takes requests.' }, config: { isOpen: true } },
    () => {
      if (!context.isDraining()) return { status: 'ready' };
      throw shuttingDown();
    },
  );
  app.get(
    '/metrics',
    { schema: { summary: 'Counters and histograms, for Prometheus.' } },
    async (_, reply) =>
      reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
}
