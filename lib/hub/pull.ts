/** From a source to a path of this machine: what is not there yet is fetched. */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdir, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TramontaneError } from '../errors';
import { COMMIT, RepositoryCache } from './cache';
import { choose, chooseFile, type Choice } from './choose';
import { allocatedBytes, exists, sizeOf } from './disk';
import {
  destinationOf,
  download,
  type Destination,
  type Digest,
  type DownloadSettings,
  type Range,
  type RemoteFile,
} from './download';
import * as environment from './environment';
import { Http, Transient, type Answer, type HttpSettings } from './http';
import { withLock } from './lock';
import type { PullOptions, PullProgress } from './public';
import { Repository, type FileFacts } from './repository';
import {
  checkRevision,
  nameOf,
  parseSource,
  type FileSource,
  type HubSource,
  type Source,
  type UrlSource,
} from './source';
import { denied, failed, invalid, missing } from './errors';

/** What tests make smaller, faster, or fail. */
export interface PullSettings extends DownloadSettings, HttpSettings {
  readonly freeBytes: (directory: string) => Promise<number | undefined>;
}

const OPTIONS: readonly string[] = [
  'revision',
  'token',
  'onProgress',
  'signal',
  'cacheDirectory',
] satisfies (keyof PullOptions)[];

const CHUNK_BYTES = 16 * 2 ** 20;
const CONNECTIONS = 4;
const TRIES = 8;
const PAUSE_MS = 500;
/** Beside a file of a URL: the URL. */
export const URL_FILE = '.source';
const PROGRESS_MS = 100;

/** `pull()` with settings for tests. */
export async function pullWith(
  source: unknown,
  options: PullOptions,
  settings: Partial<PullSettings> = {},
): Promise<string> {
  checkOptions(options);
  const found = parseWith(source, options);
  if (found.kind === 'file') return existing(found);
  const { signal: outer } = options;
  outer?.throwIfAborted();
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort(outer?.reason);
  };
  outer?.addEventListener('abort', abort);
  setMaxListeners(0, controller.signal); // Each connection has one.
  try {
    return await pullRemote(found, options, controller.signal, settings);
  } finally {
    outer?.removeEventListener('abort', abort);
  }
}

async function pullRemote(
  found: HubSource | UrlSource,
  options: PullOptions,
  signal: AbortSignal,
  settings: Partial<PullSettings>,
): Promise<string> {
  const all: PullSettings = {
    chunkBytes: CHUNK_BYTES,
    connections: CONNECTIONS,
    tries: TRIES,
    pauseMs: PAUSE_MS,
    timeoutMs: environment.timeoutMs(),
    freeBytes,
    ...settings,
  };
  const progress = new Progress(options.onProgress);
  // Offline, and for what is on the disk whole, no request is made with it.
  const token = found.kind === 'url' ? undefined : await tokenOf(options);
  const http = new Http(environment.hubEndpoint(), token, all, signal);
  if (found.kind === 'url') return pullUrl(found, options, http, all, progress);
  return new HubPull(found, options, http, all, progress).run();
}

/**
 * The path of what is here already, without a network.
 * @returns undefined where something of it is missing
 * @throws TramontaneError INVALID_OPTION
 */
export async function findPulled(
  source: unknown,
  options: PullOptions = {},
): Promise<string | undefined> {
  const found = parseWith(source, options);
  switch (found.kind) {
    case 'file':
      return (await exists(found.path)) ? found.path : undefined;
    case 'url': {
      const path = urlPath(found, options);
      return (await exists(path)) ? path : undefined;
    }
    case 'hub':
      return (await findInCache(found, cacheOf(found, options)))?.path;
  }
}

/** Where a source's revision is given in both ways, they have to agree. */
export function parseWith(source: unknown, { revision }: PullOptions): Source {
  const found = parseSource(source, environment.hubEndpoint());
  if (revision === undefined) return found;
  checkRevision(revision);
  if (found.kind !== 'hub') {
    throw invalid(`the option revision is for repositories of the hub, not for ${nameOf(found)}`);
  }
  if (found.revision !== 'main' && found.revision !== revision) {
    throw invalid(`${nameOf(found)} names another revision than the option, ${revision}`);
  }
  return { ...found, revision };
}

/** The directory of files of other servers. */
export function urlDirectory({ cacheDirectory }: PullOptions): string {
  return cacheDirectory === undefined
    ? environment.urlCacheDirectory()
    : join(cacheDirectory, 'urls');
}

export function cacheOf(source: HubSource, { cacheDirectory }: PullOptions): RepositoryCache {
  return new RepositoryCache(cacheDirectory ?? environment.hubCacheDirectory(), source.repository);
}

interface Found {
  readonly path: string;
  readonly commit: string;
  readonly choice: Choice;
}

/** What the cache has of a source, if it is whole. */
export async function findInCache(
  source: HubSource,
  cache: RepositoryCache,
): Promise<Found | undefined> {
  const commit = await cache.commitOf(source.revision);
  if (commit === undefined) return undefined;
  const here = await cache.filesOf(commit);
  const choice = await chooseInCache(source, cache, commit, here);
  if (choice?.files.every((file) => here.includes(file)) !== true) return undefined;
  return { path: pathOf(cache, commit, choice), commit, choice };
}

async function chooseInCache(
  source: HubSource,
  cache: RepositoryCache,
  commit: string,
  here: readonly string[],
): Promise<Choice | undefined> {
  if (source.file !== undefined) return chooseFile(source.file);
  const name = nameOf({ kind: 'hub', repository: source.repository, revision: 'main' });
  // Python's tools list nothing: then what is here has to do.
  const files = (await cache.tree(commit)) ?? here;
  try {
    return choose(name, files, source.quant);
  } catch {
    return undefined;
  }
}

function pathOf(cache: RepositoryCache, commit: string, { open }: Choice): string {
  return open === undefined ? cache.snapshot(commit) : cache.file(commit, open);
}

async function tokenOf({ token }: PullOptions): Promise<environment.Token | undefined> {
  if (token === undefined) return environment.findToken();
  return token === false ? undefined : { value: token, origin: 'the option' };
}

/** Whether the server was not there, or busy. */
function isUnreachable(error: unknown): error is TramontaneError {
  return error instanceof TramontaneError && error.cause instanceof Transient;
}

/** A file to fetch, and what is known of it. */
interface Wanted {
  readonly file: string;
  readonly facts: FileFacts;
}

class HubPull {
  private readonly cache: RepositoryCache;
  private readonly name: string;

  constructor(
    private readonly source: HubSource,
    options: PullOptions,
    private readonly http: Http,
    private readonly settings: PullSettings,
    private readonly progress: Progress,
  ) {
    this.cache = cacheOf(source, options);
    this.name = nameOf(source);
  }

  async run(): Promise<string> {
    const { source, cache, progress } = this;
    const found = await findInCache(source, cache);
    // A commit never changes: what is here of it needs no question.
    if (found !== undefined && (COMMIT.test(source.revision) || environment.isOffline())) {
      progress.ready(found.choice.files[0]!);
      return found.path;
    }
    if (environment.isOffline()) {
      const advice = 'unset HF_HUB_OFFLINE to fetch it';
      throw failed(
        `${this.name} is not in ${cache.cacheDirectory}, and nothing may be fetched: ${advice}`,
      );
    }
    const repository = new Repository(this.http, source);
    let chosen;
    try {
      chosen = await this.choose(repository);
    } catch (error) {
      if (found === undefined || !isUnreachable(error)) throw error;
      progress.note(`${error.message.split(';', 1)[0]!}: taking what is here of ${this.name}`);
      progress.ready(found.choice.files[0]!);
      return found.path;
    }
    const { choice, commit, wanted } = chosen;
    const totalBytes = wanted.reduce((sum, { facts }) => sum + facts.size, 0);
    progress.start(choice.files[0]!, totalBytes, choice.note);
    await this.checkSpace(wanted);
    for (const one of wanted) await this.fetch(one, commit, repository);
    const path = pathOf(cache, commit, choice);
    progress.ready(choice.files[0]!);
    return path;
  }

  /** All files, and what the hub says of each. */
  private async choose(
    repository: Repository,
  ): Promise<{ choice: Choice; commit: string; wanted: Wanted[] }> {
    const { source, cache } = this;
    const wanted: Wanted[] = [];
    let commit: string | undefined;
    let choice: Choice;
    if (source.file === undefined) {
      const listing = await repository.list();
      ({ commit } = listing);
      choice = choose(
        repository.name,
        listing.files.map(({ name }) => name),
        source.quant,
      );
      await cache.setCommit(source.revision, commit);
      await cache.setTree(listing);
    } else {
      choice = chooseFile(source.file);
    }
    for (const file of choice.files) {
      const facts = await repository.facts(file, commit ?? source.revision);
      if (commit === undefined) {
        ({ commit } = facts);
        await cache.setCommit(source.revision, commit);
      }
      wanted.push({ file, facts });
    }
    return { choice, commit: commit!, wanted };
  }

  private async checkSpace(wanted: readonly Wanted[]): Promise<void> {
    const { cache } = this;
    let needed = 0;
    for (const { file, facts } of wanted) {
      const blob = cache.blob(facts.etag);
      if ((await cache.has(facts.commit, file)) || (await exists(blob))) continue;
      needed += facts.size - (await allocatedBytes(destinationOf(blob).incomplete));
    }
    await checkSpace(this.name, needed, cache.path, this.settings);
  }

  private async fetch(
    { file, facts }: Wanted,
    commit: string,
    repository: Repository,
  ): Promise<void> {
    const { cache, progress, http } = this;
    const { etag, size } = facts;
    progress.file(file);
    if (await this.isHere(file, commit, facts)) {
      progress.cached(size);
      return;
    }
    await withLock(
      cache.lock(etag),
      http.signal,
      (pid) => {
        progress.wait(pid);
      },
      async (check) => {
        if (await this.isHere(file, commit, facts)) {
          progress.cached(size);
          return;
        }
        const remote = new HubFile(file, facts, repository, http, commit);
        const to = destinationOf(cache.blob(etag));
        await fetchFile(remote, to, http, this.settings, progress, check);
        await cache.link(etag, commit, file, true);
      },
    );
  }

  /** Whether a file is in the snapshot, or its bytes are known by another name. */
  private async isHere(file: string, commit: string, { etag, size }: FileFacts): Promise<boolean> {
    const { cache } = this;
    if ((await sizeOf(cache.file(commit, file))) === size) return true;
    if ((await sizeOf(cache.blob(etag))) !== size) return false;
    await cache.link(etag, commit, file, false);
    return true;
  }
}

/** A file of the hub, at the address that the hub gave, which is good for some minutes. */
class HubFile implements RemoteFile {
  readonly size: number;
  readonly etag: string;
  readonly digest: Digest | undefined;
  private location: URL;
  private refresh: Promise<void> | undefined;

  constructor(
    readonly name: string,
    facts: FileFacts,
    private readonly repository: Repository,
    private readonly http: Http,
    private readonly commit: string,
  ) {
    this.size = facts.size;
    this.etag = facts.etag;
    this.location = facts.location;
    const hex = facts.etag.toLowerCase();
    if (/^[0-9a-f]{64}$/.test(hex)) this.digest = { algorithm: 'sha256', hex };
    else if (/^[0-9a-f]{40}$/.test(hex)) this.digest = { algorithm: 'git', hex };
  }

  async request(range: Range | undefined, signal: AbortSignal): Promise<Answer> {
    const { location, http } = this;
    const answer = await http.once('GET', location, rangeHeader(range), 'all', signal);
    if (![400, 401, 403, 404, 410].includes(answer.response.status)) return answer;
    answer.drop();
    // A signed address has run out: the hub gives a new one, to all connections together.
    if (location === this.location) this.refresh ??= this.renew();
    await this.refresh;
    throw new Transient(`${location.host} answers ${answer.response.status} for ${this.name}`);
  }

  private async renew(): Promise<void> {
    try {
      this.location = (await this.repository.facts(this.name, this.commit)).location;
    } finally {
      this.refresh = undefined;
    }
  }
}

/** The files of other servers lie by a hash of their address. */
export function urlFolder({ url }: UrlSource, options: PullOptions): string {
  const hash = createHash('sha256').update(url.href).digest('hex').slice(0, 16);
  return join(urlDirectory(options), hash);
}

function urlPath(source: UrlSource, options: PullOptions): string {
  const { url } = source;
  const name = basename(decodeURIComponent(url.pathname.replace(/%(?![0-9a-f]{2})/gi, '%25')));
  const safe = name.replace(/[^\w.+-]/g, '_').replace(/^\.+/, '_') || 'model';
  return join(urlFolder(source, options), safe.slice(-200));
}

async function pullUrl(
  source: UrlSource,
  options: PullOptions,
  http: Http,
  settings: PullSettings,
  progress: Progress,
): Promise<string> {
  const { url, sha256 } = source;
  const name = url.href;
  const path = urlPath(source, options);
  // Without a hash there is no telling whether a server has another one now: what is here is taken.
  if (await exists(path)) {
    progress.ready(basename(path));
    return path;
  }
  if (environment.isOffline()) {
    throw failed(`${name} is not here, and nothing may be fetched: unset HF_HUB_OFFLINE`);
  }
  const facts = await urlFacts(http, url);
  const digest = sha256 === undefined ? undefined : ({ algorithm: 'sha256', hex: sha256 } as const);
  progress.start(basename(path), facts.size, undefined);
  const to = destinationOf(path);
  await checkSpace(name, facts.size - (await allocatedBytes(to.incomplete)), path, settings);
  await mkdir(dirname(path), { recursive: true });
  // Its query may be a signature: others need not read it.
  await writeFile(join(dirname(path), URL_FILE), `${name}\n`, { mode: 0o600 });
  const remote: RemoteFile = {
    name,
    size: facts.size,
    etag: facts.identity,
    digest,
    request: (range, signal) => {
      // A file that has changed comes whole, which the hash, or the length, shows.
      const same = range !== undefined && facts.etag !== undefined && { 'if-range': facts.etag };
      return http.once('GET', url, { ...rangeHeader(range), ...same }, 'all', signal);
    },
  };
  await withLock(
    join(dirname(path), '.lock'),
    http.signal,
    (pid) => {
      progress.wait(pid);
    },
    async (check) => {
      if (await exists(path)) {
        progress.cached(facts.size);
        return;
      }
      await fetchFile(remote, to, http, settings, progress, check);
    },
  );
  progress.ready(basename(path));
  return path;
}

interface UrlFacts {
  readonly size: number;
  /** What a server may be asked with, whether the file is still the same. */
  readonly etag: string | undefined;
  /** By which an interrupted download is known. */
  readonly identity: string;
}

/** Asks for one byte: servers that sign addresses allow no HEAD. */
async function urlFacts(http: Http, url: URL): Promise<UrlFacts> {
  const answer = await http.patiently('GET', url, rangeHeader({ start: 0, end: 1 }));
  answer.drop();
  const { status, headers } = answer.response;
  if (status === 401 || status === 403) {
    throw denied(`${url.host} refuses ${url.href} (${status})`);
  }
  if (status === 404 || status === 410) {
    throw missing(`${url.host} has no ${url.href} (${status})`);
  }
  const total =
    status === 206
      ? /\/(\d{1,15})$/.exec(headers.get('content-range') ?? '')?.[1]
      : status === 200
        ? headers.get('content-length')
        : undefined;
  if (total === undefined || total === null) {
    const advice = 'fetch it with another program, and name the file';
    throw failed(
      `${url.host} answers ${status} and does not say how long ${url.href} is; ${advice}`,
    );
  }
  const etag = headers.get('etag') ?? undefined;
  const strong = etag?.startsWith('"') === true ? etag : undefined;
  const text = `${etag ?? ''} ${headers.get('last-modified') ?? ''}`;
  const identity = createHash('sha256').update(text).digest('hex');
  return { size: Number(total), etag: strong, identity };
}

function rangeHeader(range: Range | undefined): Record<string, string> {
  return range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
}

async function fetchFile(
  remote: RemoteFile,
  to: Destination,
  http: Http,
  settings: PullSettings,
  progress: Progress,
  check: () => Promise<void>,
): Promise<void> {
  await download(remote, to, http, settings, {
    onBytes: (count) => {
      progress.add(count);
    },
    onResumed: (count) => {
      progress.cached(count);
    },
    onVerify: (fraction) => {
      progress.verify(fraction);
    },
    check,
  });
}

/** @throws TramontaneError FILE_NOT_WRITABLE with both numbers */
async function checkSpace(
  name: string,
  needed: number,
  directory: string,
  settings: PullSettings,
): Promise<void> {
  const free = await settings.freeBytes(directory);
  if (free === undefined || needed <= free) return;
  throw new TramontaneError(
    'FILE_NOT_WRITABLE',
    `${name} needs ${gigabytes(needed)}, but ${directory} has ${gigabytes(free)} left: make room, or set HF_HUB_CACHE to a directory of another disk`,
  );
}

/** Of the disk that a directory is on, or will be. */
async function freeBytes(directory: string): Promise<number | undefined> {
  for (let path = directory; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch {
      if (dirname(path) === path) return undefined;
    }
  }
}

function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

async function existing({ path }: FileSource): Promise<string> {
  if (await exists(path)) return path;
  throw missing(`${path}: there is no such file or directory`);
}

/** Sums up what comes, and says it at most so often. */
class Progress {
  private name = '';
  private bytes = 0;
  private cachedBytes = 0;
  private totalBytes = 0;
  private at = -Infinity;
  private last: string | undefined;

  constructor(private readonly onProgress: PullOptions['onProgress']) {}

  start(file: string, totalBytes: number, note: string | undefined): void {
    this.name = file;
    this.totalBytes = totalBytes;
    this.tell('choose', this.part, note);
  }

  file(name: string): void {
    this.name = name;
  }

  cached(bytes: number): void {
    this.bytes += bytes;
    this.cachedBytes += bytes;
    this.tell('download', this.part);
  }

  add(bytes: number): void {
    this.bytes += bytes;
    this.tell('download', this.part);
  }

  verify(fraction: number): void {
    this.tell('verify', fraction);
  }

  note(text: string): void {
    this.tell('choose', this.part, text);
  }

  wait(pid: number | undefined): void {
    const who = pid === undefined ? 'another process' : `process ${pid}`;
    this.tell('wait', this.part, `${who} fetches ${this.name}: waiting for it`);
  }

  ready(file: string): void {
    this.name = file;
    this.tell('ready', 1);
  }

  private get part(): number {
    return this.totalBytes === 0 ? 0 : this.bytes / this.totalBytes;
  }

  private tell(phase: PullProgress['phase'], fraction: number, note?: string): void {
    const now = performance.now();
    const isNew = phase !== this.last || note !== undefined;
    if (!isNew && now - this.at < PROGRESS_MS) return;
    this.at = now;
    this.last = phase;
    const { name: file, bytes, cachedBytes, totalBytes } = this;
    this.onProgress?.({
      phase,
      file,
      bytes,
      cachedBytes,
      totalBytes,
      fraction,
      ...(note !== undefined && { note }),
    });
  }
}

function checkOptions(options: PullOptions): void {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw invalid('the options of pull must be an object');
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    throw invalid(`${unknown} is no option of pull: there are ${OPTIONS.join(', ')}`);
  }
  const { token, onProgress, signal, cacheDirectory } = options;
  if (token !== undefined && token !== false && !isHeaderText(token)) {
    throw invalid('token must be the text of a token, or false');
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalid('onProgress must be a function');
  }
  if (signal !== undefined && typeof signal.throwIfAborted !== 'function') {
    throw invalid('signal must be an AbortSignal');
  }
  if (cacheDirectory !== undefined && (typeof cacheDirectory !== 'string' || !cacheDirectory)) {
    throw invalid('cacheDirectory must be a path');
  }
}

function isHeaderText(token: unknown): boolean {
  return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token);
}
