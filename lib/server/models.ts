/** The models of a server, by the names that requests give. */
import { createHash } from 'node:crypto';
import { TramontaneError } from '../errors';
import { Model } from '../model/model';
import { Admission } from './admission';
import type { ServedModel, Settings } from './options';
import { ApiError } from './protocol/errors';

/** What may be served: one model, models by their names, or with several names each. */
export type Models = Model | Readonly<Record<string, Model>> | readonly ServedModel[];

/** A model with its queue. */
export interface Served {
  /** The name that answers carry. */
  readonly name: string;
  readonly names: readonly string[];
  readonly model: Model;
  readonly admission: Admission;
  /** Unix time in seconds, as /v1/models has it. */
  readonly created: number;
  /** The same while the same request and seed give the same answer. */
  readonly fingerprint: string;
}

/** What answers depend on beside the request: the weights, and the kernels that compute. */
function fingerprintOf({ info }: Model): string {
  const { architecture, name, fileBytes, formats, implementation, kvCache } = info;
  const facts = [architecture, name, fileBytes, formats, implementation, kvCache.type];
  const hash = createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  return `fp_${hash.slice(0, 10)}`;
}

function servedModels(models: Models): readonly ServedModel[] {
  if (models instanceof Model) return [{ names: [models.info.name ?? 'model'], model: models }];
  if (Array.isArray(models)) return models as readonly ServedModel[];
  return Object.entries(models as Readonly<Record<string, Model>>).map(([name, model]) => ({
    names: [name],
    model,
  }));
}

export class ModelTable {
  readonly all: readonly Served[];
  readonly #byName = new Map<string, Served>();

  /** @throws TramontaneError INVALID_OPTION */
  constructor(models: Models, settings: Settings) {
    const created = Math.floor(Date.now() / 1000);
    this.all = servedModels(models).map(({ names, model }) => {
      const { maxRunning } = model.info.requests;
      const slots = Math.min(settings.maxConcurrent, maxRunning);
      const served: Served = {
        name: names[0] ?? '',
        names,
        model,
        admission: new Admission({
          slots,
          maxQueuedRequests: settings.maxQueuedRequests,
          maxQueuedTokens: settings.maxQueuedTokens,
          maxPerKey: settings.maxRequestsPerKey,
          tokensPerMinute: settings.tokensPerMinute,
          hasKeys: settings.apiKeys.length > 1,
        }),
        created,
        fingerprint: fingerprintOf(model),
      };
      for (const name of names) {
        if (this.#byName.has(name) || name === '') {
          throw new TramontaneError('INVALID_OPTION', `two models, or none, are named '${name}'`);
        }
        this.#byName.set(name, served);
      }
      return served;
    });
    if (this.all.length === 0) throw new TramontaneError('INVALID_OPTION', 'there is no model');
  }

  /**
   * Refuses a request before its body is read, parsed and checked: beside ten refusals for each
   * answer that work is most of what the server does. It is the body that names the model, so that
   * this is for one model alone.
   * @throws ApiError 429
   */
  refuseFull(key: string): void {
    if (this.all.length === 1) this.all[0]!.admission.refuseFull(key);
  }

  /**
   * @param name may be left out where there is one model
   * @throws ApiError 404
   */
  find(name: string | undefined): Served {
    if (name === undefined && this.all.length === 1) return this.all[0]!;
    const found = name === undefined ? undefined : this.#byName.get(name);
    if (found !== undefined) return found;
    const names = [...this.#byName.keys()].map((known) => `'${known}'`).join(', ');
    const message =
      name === undefined
        ? `model is missing: this server has ${names}`
        : `the model '${name}' does not exist: this server has ${names}`;
    throw new ApiError(name === undefined ? 400 : 404, message, {
      param: 'model',
      code: 'model_not_found',
    });
  }
}
