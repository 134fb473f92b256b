/// <reference lib="esnext.disposable" preserve="true" />
import type { AdapterFile } from '../adapters/adapter-file';
import type * as Open from '../adapters/open';
import { TramontaneError } from '../errors';
import type { ModelShape } from '../files/checkpoint';
import { filePath, type FileUrl } from '../files/path';
import * as check from './checks';
import { describeWith } from './inspect-custom';
import { fromNative, type NativeAdapterUse, type NativeModel } from './native';

/** Options of {@link Model.loadAdapter}. */
export interface AdapterOptions {
  /** For people, and for a server's clients. @default the name of the file or directory */
  readonly name?: string | undefined;
  /**
   * What the adapter's part is multiplied by, beside what its file says; from -100 to 100.
   * @default 1
   */
  readonly scale?: number | undefined;
}

/** What is known of an adapter. */
export interface AdapterInfo {
  readonly name: string;
  /** The file that has its tensors. */
  readonly path: string;
  readonly kind: 'peft' | 'gguf';
  /** The model that the file says it was made for. */
  readonly base?: string;
  readonly scale: number;
  /** The largest of its low-rank pairs. */
  readonly rank: number;
  /** Whether outputs are brought to lengths of its own. */
  readonly dora: boolean;
  /** Weights that it changes. */
  readonly weights: number;
  /** Bytes of memory that it takes. */
  readonly bytes: number;
}

/** Loaded with the first adapter: it is no part of a start. */
function opener(): typeof Open {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('../adapters/open') as typeof Open;
}

const MOST_SCALE = 100;

/** Known to this file alone. */
const MADE_BY_LOAD = Symbol('made by model.loadAdapter()');

interface Parts {
  readonly native: NativeModel;
  readonly id: number;
  readonly info: AdapterInfo;
}

/**
 * A LoRA in memory, of one model: give it to generate(), chat() or logits(). Requests of several
 * adapters, and of none, are computed together.
 */
export class Adapter implements Disposable {
  readonly #parts: Parts;
  #disposed = false;

  private constructor(key: symbol, parts: Parts) {
    if (key !== MADE_BY_LOAD) {
      const message = 'an adapter is not made with new, but loaded: await model.loadAdapter(path)';
      throw new TramontaneError('INVALID_OPTION', message);
    }
    this.#parts = parts;
  }

  /** @internal What Model.loadAdapter() does. */
  static async load(
    native: NativeModel,
    shape: ModelShape,
    source: string | FileUrl,
    options: AdapterOptions,
  ): Promise<Adapter> {
    check.checkNames('loadAdapter()', options, ['name', 'scale']);
    const path = filePath('the path of an adapter', source);
    const { openAdapter, adapterName } = opener();
    const { name = adapterName(path), scale = 1 } = options;
    if (typeof name !== 'string' || name === '') {
      throw check.invalidOption('name', 'a text that is not empty', name);
    }
    check.number('scale', scale, -MOST_SCALE, MOST_SCALE);
    const file = await openAdapter(path, shape);
    try {
      const { id, bytes } = await native.loadAdapter(file);
      return new Adapter(MADE_BY_LOAD, { native, id, info: adapterInfo(file, name, scale, bytes) });
    } catch (error) {
      throw fromNative(error);
    }
  }

  /**
   * @internal The adapter of options, for native.
   * @throws TramontaneError INVALID_OPTION, DISPOSED
   */
  static use(
    native: NativeModel,
    { adapter, adapterScale }: AdapterUse,
  ): { adapter?: NativeAdapterUse } {
    if (adapter === undefined) {
      if (adapterScale === undefined) return {};
      throw new TramontaneError('INVALID_OPTION', 'adapterScale goes with adapter');
    }
    if (!(adapter instanceof Adapter) || adapter.#parts.native !== native) {
      throw check.invalidOption('adapter', 'what loadAdapter() of this model gave', adapter);
    }
    if (adapter.#disposed) throw new TramontaneError('DISPOSED', 'the adapter was disposed');
    const { id, info } = adapter.#parts;
    const scale = adapterScale ?? info.scale;
    return { adapter: { id, scale: check.number('adapterScale', scale, -MOST_SCALE, MOST_SCALE) } };
  }

  get info(): AdapterInfo {
    return this.#parts.info;
  }

  /** Whether requests may no more use it. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** New requests may not use it any more; those that do go on, and the memory is free after the last. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#parts.native.unloadAdapter(this.#parts.id);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `info`: what a logger that is handed the adapter writes. */
  toJSON(): AdapterInfo {
    return this.info;
  }

  static {
    describeWith(this, 'Adapter', (adapter) => adapter.info);
  }
}

/** With which adapter a request is computed. */
export interface AdapterUse {
  /** What `loadAdapter()` of the model gave. @default none: the model as it is */
  adapter?: Adapter | undefined;
  /** In place of the adapter's own scale; from -100 to 100, 0 takes nothing of it. */
  adapterScale?: number | undefined;
}

function adapterInfo(file: AdapterFile, name: string, scale: number, bytes: number): AdapterInfo {
  const { path, kind, base, pairs } = file;
  return {
    name,
    path,
    kind,
    ...(base !== undefined && { base }),
    scale,
    rank: pairs.reduce((most, { down }) => Math.max(most, down.rows), 0),
    dora: pairs.some(({ magnitude }) => magnitude !== undefined),
    weights: pairs.length,
    bytes,
  };
}
