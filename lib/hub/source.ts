/** What a model is named by: a file of this machine, a repository of the hub, or a URL. */
import { fileURLToPath } from 'node:url';
import { aliases } from './aliases';
import { invalid } from './errors';

/** A URL, as far as a source needs one: any URL object is one. */
interface UrlLike {
  readonly protocol: string;
  readonly href: string;
}

/** Files of a repository. */
export interface HubSource {
  readonly kind: 'hub';
  /** `OWNER/NAME` */
  readonly repository: string;
  /** A branch, a tag or a commit. @default main */
  readonly revision: string;
  /** One file, or one part of a split one, by its path in the repository. */
  readonly file?: string;
  /** How the weights of the wanted GGUF file are stored, such as `Q4_K_M`. */
  readonly quant?: string;
}

/** One file of any web server. */
export interface UrlSource {
  readonly kind: 'url';
  readonly url: URL;
  /** What the file's bytes must hash to, from a fragment `#sha256=...`, in lower case. */
  readonly sha256?: string;
}

/** A path of this machine. */
export interface FileSource {
  readonly kind: 'file';
  readonly path: string;
}

export type Source = HubSource | UrlSource | FileSource;

const REPOSITORY = /^[A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*$/;
const HUB =
  /^([^/@:]+\/[^/@:]+)(?:@(refs\/(?:pr|convert)\/[^/@:]+|[^/@:]+))?(?:\/([^:]+)|:([^/:]+))?$/;
/** Hosts whose web addresses name repositories, beside the endpoint's. */
const HUB_HOSTS: readonly string[] = ['huggingface.co', 'www.huggingface.co', 'hf.co'];

/** Whether a value names something that may have to be fetched: a `hf:`, `https:` or `http:` source. */
export function isRemote(value: unknown): boolean {
  return /^(hf:|https?:\/\/)/i.test(textOf(value) ?? '');
}

/**
 * Reads what a caller names a model by.
 * @param value `hf:OWNER/REPO[@REVISION][:QUANT]`, `hf:OWNER/REPO[@REVISION]/FILE`, an `https:` or
 *   `file:` URL, an alias of lib/hub/aliases.ts, or a path; a URL may be an object
 * @param endpoint of the hub: web addresses of its host name repositories
 * @throws TramontaneError INVALID_OPTION
 */
export function parseSource(value: unknown, endpoint: URL): Source {
  const text = textOf(value);
  if (text === undefined || text === '' || text.includes('\0')) {
    const what = typeof value === 'string' ? JSON.stringify(value) : typeof value;
    throw invalid(`the source of a model must be a path, hf:OWNER/REPO or a URL, but is ${what}`);
  }
  if (/^hf:/i.test(text)) return parseHub(text);
  if (/^https?:\/\//i.test(text)) return parseUrl(text, endpoint);
  if (/^file:\/\//i.test(text)) return { kind: 'file', path: pathOf(text) };
  const alias = aliases.find(({ name }) => name === text.toLowerCase());
  return alias === undefined ? { kind: 'file', path: text } : parseHub(alias.source);
}

/** A source as a user would write it. */
export function nameOf(source: Source): string {
  switch (source.kind) {
    case 'file':
      return source.path;
    case 'url':
      return source.url.href;
    case 'hub': {
      const { repository, revision, file, quant } = source;
      const at = revision === 'main' ? '' : `@${encodeRevision(revision)}`;
      const rest = file !== undefined ? `/${file}` : quant !== undefined ? `:${quant}` : '';
      return `hf:${repository}${at}${rest}`;
    }
  }
}

/** Slashes of a branch's name would begin a file's. */
function encodeRevision(revision: string): string {
  return /^refs\/(pr|convert)\/[^/]+$/.test(revision) ? revision : encodeURIComponent(revision);
}

function parseHub(text: string): HubSource {
  const match = HUB.exec(text.slice('hf:'.length).replace(/^\/\//, ''));
  if (match === null) {
    throw invalid(`${text} must be hf:OWNER/REPO[@REVISION][:QUANT] or hf:OWNER/REPO/FILE`);
  }
  const [, repository, revision, file, quant] = match;
  return hubSource(text, repository!, revision && decode(text, revision), file, quant);
}

/** Checks the parts: they become names of directories, and parts of URLs. */
function hubSource(
  text: string,
  repository: string,
  revision: string | undefined,
  file: string | undefined,
  quant: string | undefined,
): HubSource {
  if (
    !REPOSITORY.test(repository) ||
    repository.length > 96 ||
    /--|\.\.|[-.](?:\/|$)/.test(repository)
  ) {
    throw invalid(`${text}: "${repository}" is no name of a repository: OWNER/NAME is`);
  }
  if (revision !== undefined) checkRevision(revision);
  if (file !== undefined && !isInside(file)) {
    throw invalid(`${text}: "${file}" is no path of a file in a repository`);
  }
  return {
    kind: 'hub',
    repository,
    revision: revision ?? 'main',
    ...(file !== undefined && { file }),
    ...(quant !== undefined && { quant }),
  };
}

/** @throws TramontaneError INVALID_OPTION for what git allows no branch to be called */
export function checkRevision(revision: unknown): asserts revision is string {
  if (
    typeof revision !== 'string' ||
    !/^[\w][\w./+-]*$/.test(revision) ||
    !isInside(revision) ||
    revision.length > 200
  ) {
    throw invalid(`the revision must be a branch, a tag or a commit, but is ${String(revision)}`);
  }
}

/**
 * Whether a relative path, which a server or a user gave, stays inside the directory it is put in,
 * on every platform, and is a plain name there.
 */
export function isInside(path: string): boolean {
  return (
    path.length <= 1000 &&
    // Characters that Windows takes for something else, or that no terminal shows.
    !/[\\:*?"<>|\p{Cc}]/u.test(path) &&
    path.split('/').every((part) => part !== '' && !/^\.+$/.test(part) && !/[. ]$/.test(part))
  );
}

function parseUrl(text: string, endpoint: URL): HubSource | UrlSource {
  if (!URL.canParse(text)) throw invalid(`${text} is no URL`);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    throw invalid(`${url.host}: a URL with a user or password is not supported; leave it out`);
  }
  if (url.host === endpoint.host || HUB_HOSTS.includes(url.host)) {
    const found = parseHubUrl(text, url);
    if (found !== undefined) return found;
  }
  const { hash } = url;
  url.hash = '';
  if (hash === '') return { kind: 'url', url };
  const [, sha256] = /^#sha256=([0-9a-f]{64})$/i.exec(hash) ?? [];
  if (sha256 === undefined) {
    throw invalid(`${text}: what follows # must be sha256= and 64 hexadecimal digits`);
  }
  return { kind: 'url', url, sha256: sha256.toLowerCase() };
}

/** An address of the hub's web pages: of a repository, a revision, or a file. */
function parseHubUrl(text: string, url: URL): HubSource | undefined {
  const parts = decode(text, url.pathname).split('/').filter(Boolean);
  const [owner, name, kind, revision, ...file] = parts;
  if (owner === undefined || name === undefined) return undefined;
  if (['api', 'datasets', 'spaces'].includes(owner)) return undefined;
  if (kind !== undefined && !['tree', 'blob', 'resolve'].includes(kind)) return undefined;
  const path = kind === 'tree' || file.length === 0 ? undefined : file.join('/');
  return hubSource(text, `${owner}/${name}`, revision, path, undefined);
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(`${text}: "${part}" has a % that begins no character`);
  }
}

function pathOf(text: string): string {
  try {
    return fileURLToPath(text);
  } catch (cause) {
    const { message } = cause as Error;
    throw invalid(`${text} is no path: ${message}`, { cause });
  }
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  const { protocol, href } = value as Partial<Record<keyof UrlLike, unknown>>;
  return typeof protocol === 'string' && typeof href === 'string' ? href : undefined;
}
