/** `tramontane serve`: models behind OpenAI's API. */
import { Command } from 'commander';
import { TramontaneError, type Adapter, type Model } from '../index';
import type { Server, ServerOptions } from '../server';
import { isLoopback } from '../server/loopback';
import { addLoadOptions, integer, loadFlags, type LoadFlags } from './options';
import { EMBEDDED_MODEL, load } from './session';

interface Flags extends LoadFlags {
  readonly host: string;
  readonly port: number;
  readonly servedModelName?: readonly string[];
  readonly adapter?: readonly string[];
  readonly allowAdapterLoading?: true;
  readonly apiKeyFile?: string;
  readonly auth: boolean;
  readonly maxRunning?: number;
  readonly maxQueuedRequests?: number;
  readonly maxQueuedTokens?: number;
  readonly maxRequestsPerKey?: number;
  readonly tokensPerMinute?: number;
  readonly maxTokensCap?: number;
  readonly bodyLimit?: number;
  readonly requestTimeout?: number;
  readonly headersTimeout?: number;
  readonly receiveTimeout?: number;
  readonly drainTimeout: number;
  readonly allowedHosts?: readonly string[];
  readonly allowedOrigins?: readonly string[];
  readonly lenient?: true;
  readonly logPrompts?: true;
  readonly logLevel: string;
  readonly ui: boolean;
}

/** Where keys may be instead of in a file. */
const KEYS_VARIABLE = 'TRAMONTANE_API_KEYS';

export function serveCommand(): Command {
  const command = new Command('serve')
    .description("Serves models over HTTP, by OpenAI's API.")
    .argument(
      '[models...]',
      '.gguf files, directories or hf:OWNER/REPO:QUANT, or NAME=MODEL (default: the embedded model)',
    )
    .optionsGroup('Server:')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0: any that is free', integer, 8000)
    .option('--served-model-name <names...>', 'names of the one model, the first in answers')
    .option(
      '--adapter <NAME=PATH...>',
      'LoRAs, served by these names; of several models MODEL:NAME=PATH',
    )
    .option('--allow-adapter-loading', "let clients load adapters from this machine's files")
    .option(
      '--api-key-file <file>',
      `keys that clients must bring, or name:key, one a line (or ${KEYS_VARIABLE}, with commas)`,
    )
    .option('--no-auth', 'listen on a public address without keys')
    .option('--max-running <n>', 'requests of a model that share its steps', integer)
    .option('--max-queued-requests <n>', 'requests that may wait (default: 256)', integer)
    .option('--max-queued-tokens <n>', 'tokens of their prompts (default: 1000000)', integer)
    .option('--max-requests-per-key <n>', 'requests of one key at once', integer)
    .option('--tokens-per-minute <n>', 'tokens of one key in a minute', integer)
    .option('--max-tokens-cap <n>', 'most tokens of one answer', integer)
    .option('--body-limit <bytes>', 'bytes of a request (default: 4194304)', integer)
    .option('--request-timeout <s>', 'seconds a request may take (default: 600)', integer)
    .option('--headers-timeout <s>', 'seconds to send its headers in (default: 20)', integer)
    .option('--receive-timeout <s>', 'seconds to send all of it in (default: 60)', integer)
    .option('--drain-timeout <s>', 'seconds that SIGTERM waits for requests', integer, 45)
    .option('--allowed-hosts <names...>', 'host names that requests may be addressed to')
    .option('--allowed-origins <origins...>', 'origins of pages that may call (CORS)')
    .option('--lenient', 'pass over fields of requests that are not known')
    .option('--log-level <level>', 'fatal, error, warn, info, debug or silent', 'info')
    .option('--log-prompts', 'write prompts and answers to the log')
    .option('--no-ui', 'no chat page at /')
    .addHelpText(
      'after',
      `
The first line of standard output is "listening on http://HOST:PORT"; the log
goes to standard error.

Examples:
  $ tramontane serve mistral-7b-instruct.gguf
  $ tramontane serve m.gguf --served-model-name mistralai/Mistral-7B-v0.1
  $ tramontane serve m.gguf --adapter legal=loras/legal sql=loras/sql.gguf
  $ tramontane serve a=a.gguf b=b.gguf --host 0.0.0.0 --api-key-file keys.txt`,
    )
    .action(serve);
  return addLoadOptions(command);
}

interface Source {
  readonly names: readonly string[];
  readonly path: string;
}

function sourcesOf(models: readonly string[], names: readonly string[] | undefined): Source[] {
  if (names !== undefined && models.length > 1) {
    const message = '--served-model-name is of one model: several are NAME=PATH';
    throw new TramontaneError('INVALID_OPTION', message);
  }
  if (models.length === 0) return [{ names: names ?? ['breeze'], path: EMBEDDED_MODEL }];
  return models.map((argument) => {
    const named = /^([^=/\\]+)=(.+)$/.exec(argument);
    if (named !== null) return { names: [named[1]!], path: named[2]! };
    return {
      names: names ?? [argument.replace(/^.*[/\\](?=.)/, '').replace(/\.gguf$/i, '')],
      path: argument,
    };
  });
}

interface AdapterSource {
  /** Index of its model. */
  readonly model: number;
  readonly name: string;
  readonly path: string;
}

/** @throws TramontaneError INVALID_OPTION */
function adapterSource(argument: string, models: readonly Source[]): AdapterSource {
  const [, base, name, path] = /^(?:([^=]+):)?([^:=]+)=(.+)$/.exec(argument) ?? [];
  const model = base === undefined ? 0 : models.findIndex(({ names }) => names.includes(base));
  if (name === undefined || path === undefined) {
    throw new TramontaneError('INVALID_OPTION', `--adapter is NAME=PATH, and not ${argument}`);
  }
  if (model < 0 || (base === undefined && models.length > 1)) {
    const message = `--adapter ${argument} does not say which of the models it is for: MODEL:NAME=PATH`;
    throw new TramontaneError('INVALID_OPTION', message);
  }
  return { model, name, path };
}

/** @throws TramontaneError INVALID_OPTION; FILE_NOT_READABLE */
function keyLines(flags: Flags, keysFile: (path: string) => readonly string[]): readonly string[] {
  if (flags.apiKeyFile !== undefined) return keysFile(flags.apiKeyFile);
  const keys = process.env[KEYS_VARIABLE];
  // Not to be seen by what this process starts.
  Reflect.deleteProperty(process.env, KEYS_VARIABLE);
  return keys === undefined ? [] : keys.split(',');
}

async function serve(models: readonly string[], flags: Flags): Promise<void> {
  const sources = sourcesOf(models, flags.servedModelName);
  const adapters = (flags.adapter ?? []).map((argument) => adapterSource(argument, sources));
  const { createServer, linesOfKeys } = await serverModule();
  const apiKeys = keyLines(flags, linesOfKeys);
  if (apiKeys.length === 0 && flags.auth && !isLoopback(flags.host)) {
    throw new TramontaneError(
      'INVALID_OPTION',
      `${flags.host} can be reached by others, and there are no keys: give --api-key-file, or --no-auth ` +
        'where something else keeps them out',
    );
  }
  const served: { names: readonly string[]; model: Model; adapters: Adapter[] }[] = [];
  let server: Server;
  try {
    for (const { names, path } of sources) {
      const { maxRunning } = flags;
      const options = { ...loadFlags(flags), ...(maxRunning !== undefined && { maxRunning }) };
      served.push({ names, model: await load(path, options), adapters: [] });
    }
    for (const { model: index, name, path } of adapters) {
      const { model, adapters } = served[index]!;
      adapters.push(await model.loadAdapter(path, { name }));
    }
    server = createServer(served, serverOptions(flags, apiKeys));
    const url = await server.listen({ host: flags.host, port: flags.port });
    process.stdout.write(`listening on ${url}\n`);
  } catch (error) {
    await Promise.all(served.map(({ model }) => model.dispose()));
    throw error;
  }
  await untilSignal(server, flags.drainTimeout);
  await Promise.all(served.map(({ model }) => model.dispose()));
}

function serverOptions(flags: Flags, apiKeys: readonly string[]): ServerOptions {
  return {
    apiKeys,
    maxQueuedRequests: flags.maxQueuedRequests,
    maxQueuedTokens: flags.maxQueuedTokens,
    maxRequestsPerKey: flags.maxRequestsPerKey,
    tokensPerMinute: flags.tokensPerMinute,
    maxTokensCap: flags.maxTokensCap,
    bodyLimit: flags.bodyLimit,
    requestTimeout: flags.requestTimeout,
    headersTimeout: flags.headersTimeout,
    receiveTimeout: flags.receiveTimeout,
    allowedHosts: flags.allowedHosts,
    allowedOrigins: flags.allowedOrigins,
    lenient: flags.lenient,
    allowAdapterLoading: flags.allowAdapterLoading,
    logPrompts: flags.logPrompts,
    logger: flags.logLevel === 'silent' ? false : { level: flags.logLevel, stream: process.stderr },
    ui: flags.ui,
  };
}

/** Ends at the first signal, when what runs has ended; at once at the second. */
async function untilSignal(server: Server, drainSeconds: number): Promise<void> {
  const signals = ['SIGTERM', 'SIGINT'] as const;
  await new Promise<void>((resolve, reject) => {
    let asked = false;
    for (const signal of signals) {
      process.on(signal, () => {
        if (asked) process.exit(128 + (signal === 'SIGTERM' ? 15 : 2));
        asked = true;
        process.stderr.write(
          `tramontane: ${signal}: ending when running requests have, in ${drainSeconds} s at most; again: at once\n`,
        );
        server.drain(drainSeconds).then(resolve, reject);
      });
    }
  });
}

/** @throws TramontaneError where the server's dependencies are missing */
async function serverModule() {
  try {
    const [{ createServer }, { linesOfKeys }] = await Promise.all([
      import('../server/index.js'),
      import('../server/keys.js'),
    ]);
    return { createServer, linesOfKeys };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    throw new TramontaneError(
      'INVALID_OPTION',
      'the server needs packages that generating does not: npm install fastify @fastify/swagger @fastify/cors prom-client',
      { cause: error },
    );
  }
}
