/** What the environment says about the hub, by the variables that the hub's own tools read. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalid } from './errors';

type Variables = Readonly<Record<string, string | undefined>>;

const DEFAULT_ENDPOINT = 'https://huggingface.co';
const DEFAULT_TIMEOUT_SECONDS = 30;

/** A token, and where it was found: errors name it. */
export interface Token {
  readonly value: string;
  readonly origin: string;
}

/** The directory with the hub's files: HF_HUB_CACHE, or else `hub` in HF_HOME. */
export function hubCacheDirectory(variables: Variables = process.env): string {
  const named = set(variables['HF_HUB_CACHE']) ?? set(variables['HUGGINGFACE_HUB_CACHE']);
  return named === undefined ? join(hubHome(variables), 'hub') : expand(named, variables);
}

/** The directory with files of other servers. */
export function urlCacheDirectory(variables: Variables = process.env): string {
  return join(userCache(variables), 'tramontane', 'urls');
}

function hubHome(variables: Variables): string {
  const home = set(variables['HF_HOME']);
  return home === undefined ? join(userCache(variables), 'huggingface') : expand(home, variables);
}

function userCache(variables: Variables): string {
  const directory = set(variables['XDG_CACHE_HOME']);
  return directory === undefined ? join(homedir(), '.cache') : expand(directory, variables);
}

/**
 * Where the hub is: HF_ENDPOINT, a mirror, or huggingface.co.
 * @throws TramontaneError INVALID_OPTION
 */
export function hubEndpoint(variables: Variables = process.env): URL {
  const text = (set(variables['HF_ENDPOINT']) ?? DEFAULT_ENDPOINT).replace(/\/+$/, '');
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    const advice = 'it must be a URL, such as https://huggingface.co';
    throw invalid(`HF_ENDPOINT is ${text}: ${advice}`);
  }
  return new URL(text);
}

/** Whether nothing may be fetched: HF_HUB_OFFLINE. */
export function isOffline(variables: Variables = process.env): boolean {
  return isTrue(set(variables['HF_HUB_OFFLINE']) ?? variables['TRANSFORMERS_OFFLINE']);
}

/** Whether files are copied where links could be: HF_HUB_DISABLE_SYMLINKS. */
export function withoutLinks(variables: Variables = process.env): boolean {
  return isTrue(variables['HF_HUB_DISABLE_SYMLINKS']);
}

/** Milliseconds without a byte after which a connection is given up: HF_HUB_DOWNLOAD_TIMEOUT. */
export function timeoutMs(variables: Variables = process.env): number {
  const seconds = Number(variables['HF_HUB_DOWNLOAD_TIMEOUT']);
  return 1000 * (seconds > 0 && seconds < 1e6 ? seconds : DEFAULT_TIMEOUT_SECONDS);
}

/** The user's token: HF_TOKEN, or the file that signing in writes. */
export async function findToken(variables: Variables = process.env): Promise<Token | undefined> {
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const value = clean(variables[name]);
    if (value !== undefined) return { value, origin: name };
  }
  const named = set(variables['HF_TOKEN_PATH']);
  const path = named === undefined ? join(hubHome(variables), 'token') : expand(named, variables);
  try {
    const value = clean(await readFile(path, 'utf8'));
    return value === undefined ? undefined : { value, origin: path };
  } catch {
    return undefined; // Most have none.
  }
}

function clean(token: string | undefined): string | undefined {
  return set(token?.replace(/[\r\n]/g, '').trim());
}

/** An empty variable counts as none. */
function set(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function isTrue(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());
}

/** A path of a variable, in which `~` and `$NAME` are what they are in a shell. */
function expand(path: string, variables: Variables): string {
  return path
    .replace(/^~(?=$|[/\\])/, homedir())
    .replace(/\$(\w+)|\$\{(\w+)\}/g, (whole, plain?: string, braced?: string) => {
      return variables[plain ?? braced ?? ''] ?? whole;
    });
}
