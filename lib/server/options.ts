/** Options of a server. */
import type { Adapter } from '../model/adapter';
import type { Model } from '../model/model';
import * as check from '../model/checks';

/** A model, and the names that requests may call it by. */
export interface ServedModel {
  /** The first is the one that answers carry. */
  readonly names: readonly string[];
  readonly model: Model;
  /** Adapters of the model, which requests may call by their names, or by `model:adapter`. */
  readonly adapters?: readonly Adapter[];
}

export interface ServerOptions {
  /** Keys that clients have to bring: `key`, or `name:key`. @default none: everybody is let in */
  readonly apiKeys?: readonly string[] | undefined;
  /** Generations of a model at once. @default the model's maxRunning */
  readonly maxConcurrent?: number | undefined;
  /** Generations that wait for their turn; one more is answered with 429. @default 256 */
  readonly maxQueuedRequests?: number | undefined;
  /** Prompt tokens, about, of those that wait. @default 1,000,000 */
  readonly maxQueuedTokens?: number | undefined;
  /** Requests of one key that run or wait. @default as many as may run and wait */
  readonly maxRequestsPerKey?: number | undefined;
  /** Tokens of one key's prompts and answers in a minute. @default without a limit */
  readonly tokensPerMinute?: number | undefined;
  /** Most tokens of one answer, also where a request names none. @default the context's rest */
  readonly maxTokensCap?: number | undefined;
  /** Bytes of a request. @default 4 MiB */
  readonly bodyLimit?: number | undefined;
  /** Seconds after which a request is ended. @default 600 */
  readonly requestTimeout?: number | undefined;
  /** Seconds in which a client must have sent its headers. @default 20 */
  readonly headersTimeout?: number | undefined;
  /** Seconds in which a client must have sent all of its request. @default 60 */
  readonly receiveTimeout?: number | undefined;
  /** Seconds after which a client that does not read its stream is given up. @default 30 */
  readonly slowReaderTimeout?: number | undefined;
  /** Seconds between comments on a stream with nothing to send. @default 10 */
  readonly pingInterval?: number | undefined;
  /** Pass over unknown and unsupported fields of requests. @default false */
  readonly lenient?: boolean | undefined;
  /** Host names that requests may be addressed to. @default those of this machine, on loopback; else any */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Origins of pages that may call the server (CORS); `*` for any. @default none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /**
   * Let clients load adapters from this machine's files, and unload them, by `/v1/load_lora_adapter`
   * and `/v1/unload_lora_adapter`. @default false
   */
  readonly allowAdapterLoading?: boolean | undefined;
  /** Write prompts and answers to the log. @default false */
  readonly logPrompts?: boolean | undefined;
  /** A pino logger's options or `true`; `false` for no log. @default false */
  readonly logger?: boolean | object | undefined;
  /** The chat page at `/`. @default true */
  readonly ui?: boolean | undefined;
}

export type Settings = {
  readonly [K in keyof ServerOptions]-?: Exclude<ServerOptions[K], undefined>;
} & { readonly maxConcurrent: number };

const MOST = Number.MAX_SAFE_INTEGER;

const NUMBERS = {
  maxConcurrent: [1, 128],
  maxQueuedRequests: [0, MOST],
  maxQueuedTokens: [0, MOST],
  maxRequestsPerKey: [1, MOST],
  tokensPerMinute: [1, MOST],
  maxTokensCap: [1, MOST],
  bodyLimit: [1024, 2 ** 31 - 1],
} as const;

const SECONDS = [
  'requestTimeout',
  'headersTimeout',
  'receiveTimeout',
  'slowReaderTimeout',
  'pingInterval',
] as const;
const FLAGS = ['lenient', 'allowAdapterLoading', 'logPrompts', 'ui'] as const;
const LISTS = ['apiKeys', 'allowedHosts', 'allowedOrigins'] as const;

/** @throws TramontaneError INVALID_OPTION */
export function checkServerOptions(options: ServerOptions): Settings {
  check.checkNames('createServer()', options, [
    ...Object.keys(NUMBERS),
    ...SECONDS,
    ...FLAGS,
    ...LISTS,
    'logger',
  ]);
  const values: Record<string, unknown> = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  for (const [name, [least, most]] of Object.entries(NUMBERS)) {
    if (name in values) check.integer(name, values[name], least, most);
  }
  for (const name of SECONDS) {
    if (name in values) check.number(name, values[name], 0.001, 1e6);
  }
  for (const name of FLAGS) {
    if (name in values) check.boolean(name, values[name]);
  }
  for (const name of LISTS) {
    const list = values[name] ?? [];
    if (!Array.isArray(list) || list.some((item) => typeof item !== 'string')) {
      throw check.invalidOption(name, 'an array of strings', list);
    }
  }
  return {
    apiKeys: [],
    maxConcurrent: 128,
    maxQueuedRequests: 256,
    maxQueuedTokens: 1_000_000,
    maxRequestsPerKey: Infinity,
    tokensPerMinute: Infinity,
    maxTokensCap: Infinity,
    bodyLimit: 4 * 2 ** 20,
    requestTimeout: 600,
    headersTimeout: 20,
    receiveTimeout: 60,
    slowReaderTimeout: 30,
    pingInterval: 10,
    lenient: false,
    allowAdapterLoading: false,
    allowedHosts: [],
    allowedOrigins: [],
    logPrompts: false,
    logger: false,
    ui: true,
    ...values,
  };
}
