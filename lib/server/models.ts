/** The models of a server, by the names that requests give. */
import { createHash } from 'node:crypto';
import { TramontaneError } from '../errors';
import type { Adapter } from '../model/adapter';
import { Model } from '../model/model';
import { Admission } from './admission';
import type { ServedModel, Settings } from './options';
import { ApiError } from './protocol/errors';

/** What may be served: one model, models by their names, or with several names each. */
export type Models = Model | Readonly<Record<string, Model>> | readonly ServedModel[];

/** A model with its queue, or an adapter, which has the queue of its model. */
export interface Served {
  /** The name that answers carry. */
  readonly name: string;
  readonly names: readonly string[];
  readonly model: Model;
  /** What its requests are computed with; of an adapter only, as is the name of its model. */
  readonly adapter?: Adapter;
  readonly parent?: string;
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
    const listed = servedModels(models);
    this.all = listed.map(({ names, model }) => {
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
    for (const [index, { adapters = [] }] of listed.entries()) {
      for (const adapter of adapters) this.add(this.all[index]!, adapter);
    }
  }

  /** By all names. */
  get entries(): IterableIterator<[name: string, served: Served]> {
    return this.#byName.entries();
  }

  /**
   * Serves an adapter of a model by its name.
   * @throws TramontaneError INVALID_OPTION where the name is taken
   */
  add(served: Served, adapter: Adapter): void {
    const { name } = adapter.info;
    this.refuseTaken(name);
    const created = Math.floor(Date.now() / 1000);
    const facts = JSON.stringify([served.fingerprint, adapter.info, created]);
    const fingerprint = `fp_${createHash('sha256').update(facts).digest('hex').slice(0, 10)}`;
    const parent = served.name;
    const own = { name, names: [name], adapter, parent, created, fingerprint };
    this.#byName.set(name, { ...served, ...own });
  }

  /** @throws TramontaneError INVALID_OPTION where a model or an adapter has this name */
  refuseTaken(name: string): void {
    if (!this.#byName.has(name)) return;
    throw new TramontaneError('INVALID_OPTION', `there is a model or an adapter '${name}' already`);
  }

  /** Serves an adapter no more, and gives it; undefined where there is none of this name. */
  remove(name: string): Adapter | undefined {
    const adapter = this.#byName.get(name)?.adapter;
    if (adapter !== undefined) this.#byName.delete(name);
    return adapter;
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

  /** Of `base:adapter`. */
  #adapterOf(name: string): Served | undefined {
    const colon = name.lastIndexOf(':');
    const base = this.#byName.get(name.slice(0, Math.max(0, colon)));
    const found = this.#byName.get(name.slice(colon + 1));
    return found?.adapter !== undefined && found.parent === base?.name ? found : undefined;
  }

  /**
   * @param name of a model or an adapter, or `base:adapter`; may be left out where there is one model
   * @throws ApiError 404
   */
  find(name: string | undefined): Served {
    if (name === undefined && this.all.length === 1) return this.all[0]!;
    const found =
      name === undefined ? undefined : (this.#byName.get(name) ?? this.#adapterOf(name));
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
