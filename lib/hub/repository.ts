/** What the hub says about a repository and its files, and its refusals in plain words. */
import type { TramontaneError } from '../errors';
import { COMMIT } from './cache';
import { isInside, nameOf, type HubSource } from './source';
import type { Answer, Http } from './http';
import { denied, failed, missing } from './errors';

/** A file of a listing. */
export interface ListedFile {
  readonly name: string;
  readonly size?: number;
  /** git's hash of the file, or of the pointer to it. */
  readonly blobId?: string;
  readonly lfs?: { readonly sha256: string; readonly size: number };
}

export interface Listing {
  readonly commit: string;
  readonly files: readonly ListedFile[];
}

/** What has to be known of a file before it is fetched. */
export interface FileFacts {
  readonly commit: string;
  /** Name of its blob in the cache: sha256 of a file in LFS, git's hash of any other. */
  readonly etag: string;
  readonly size: number;
  /** Where its bytes are. */
  readonly location: URL;
}

export class Repository {
  /** For messages: `hf:OWNER/REPO`. */
  readonly name: string;

  constructor(
    private readonly http: Http,
    readonly source: HubSource,
  ) {
    this.name = nameOf({ ...withoutFile(source), revision: 'main' });
  }

  /** All files at the source's revision, and the commit that is now. */
  async list(): Promise<Listing> {
    const { repository, revision } = this.source;
    const url = this.url(`api/models/${repository}/revision/${encodeURIComponent(revision)}`);
    url.searchParams.set('blobs', 'true');
    const answer = await this.http.json(url);
    if ('response' in answer) {
      answer.drop();
      throw this.refusal(answer, undefined);
    }
    return this.readListing(answer.value);
  }

  /** @param revision of the file: the source's, or the commit it was found to be */
  async facts(file: string, revision: string): Promise<FileFacts> {
    const { repository } = this.source;
    const path = file.split('/').map(encodeURIComponent).join('/');
    const url = this.url(`${repository}/resolve/${encodeURIComponent(revision)}/${path}`);
    const answer = await this.http.patiently('HEAD', url, {}, 'own');
    const { response, location } = answer;
    if (location === undefined && !response.ok) throw this.refusal(answer, file);
    const { headers } = response;
    // The hub redirects to itself too; what the last answer lacks, one before may have said.
    const all = [...answer.passed, headers].reverse();
    const header = (name: string): string | undefined =>
      all.map((one) => one.get(name)).find((value) => value !== null) ?? undefined;
    const commit = header('x-repo-commit');
    const etag = (header('x-linked-etag') ?? headers.get('etag') ?? '').replace(
      /^(?:W\/)?"?|"$/g,
      '',
    );
    const length =
      header('x-linked-size') ?? (location === undefined ? headers.get('content-length') : null);
    if (commit === undefined || !COMMIT.test(commit)) throw this.noHub('no X-Repo-Commit');
    // It becomes the name of a file.
    if (!/^[\w-]{1,128}$/.test(etag)) throw this.noHub('no ETag that is a hash');
    if (length === null || !/^\d{1,15}$/.test(length)) throw this.noHub(`no size of ${file}`);
    return { commit, etag, size: Number(length), location: location ?? answer.url };
  }

  private url(path: string): URL {
    return new URL(`${this.http.endpoint.href.replace(/\/+$/, '')}/${path}`);
  }

  private readListing(value: unknown): Listing {
    const { sha, siblings } = (value ?? {}) as { sha?: unknown; siblings?: unknown };
    if (typeof sha !== 'string' || !COMMIT.test(sha) || !Array.isArray(siblings)) {
      throw this.noHub('a list without a commit or files');
    }
    return { commit: sha, files: siblings.map((entry) => this.readEntry(entry)) };
  }

  private readEntry(entry: unknown): ListedFile {
    const { rfilename, size, blobId, lfs } = (entry ?? {}) as Record<string, unknown>;
    if (typeof rfilename !== 'string' || !isInside(rfilename)) {
      const shown = typeof rfilename === 'string' ? rfilename.slice(0, 100) : typeof rfilename;
      throw this.noHub(`a file name that leads elsewhere, ${JSON.stringify(shown)},`);
    }
    const { sha256, size: lfsSize } = (lfs ?? {}) as Record<string, unknown>;
    return {
      name: rfilename,
      ...(isSize(size) && { size }),
      ...(typeof blobId === 'string' && /^[0-9a-f]{40}$/.test(blobId) && { blobId }),
      ...(typeof sha256 === 'string' && isSize(lfsSize) && { lfs: { sha256, size: lfsSize } }),
    };
  }

  private noHub(what: string): TramontaneError {
    return failed(
      `${this.http.endpoint.host} answers with ${what} for ${this.name}: it is no hub, or something is between; see HF_ENDPOINT`,
    );
  }

  /** The error for an answer that is none, by the code the hub gives. */
  private refusal({ response }: Answer, file: string | undefined): TramontaneError {
    const { endpoint, token } = this.http;
    const { status, headers } = response;
    const { repository, revision } = this.source;
    const page = `${endpoint.origin}/${repository}`;
    const code = headers.get('x-error-code');
    const said = plain(headers.get('x-error-message'));
    if (code === 'GatedRepo') return this.gated(page);
    if (/invalid credentials/i.test(said) || (status === 401 && token && code === null)) {
      return denied(
        `${endpoint.host} does not take the token of ${token?.origin ?? 'HF_TOKEN'}: make a new one at ${endpoint.origin}/settings/tokens`,
      );
    }
    if (code === 'RevisionNotFound') {
      return missing(`${this.name} has no revision ${revision}; its page ${page} lists them`);
    }
    if (code === 'EntryNotFound') {
      return missing(
        `${this.name} has no file ${file ?? ''} in ${revision}; see ${page}/tree/main`,
      );
    }
    if (code === 'RepoNotFound' || status === 401 || status === 404) {
      const advice =
        token === undefined
          ? 'check the name; a private one needs HF_TOKEN'
          : `check the name, and whether the token of ${token.origin} may read it`;
      return missing(`there is no ${this.name} at ${endpoint.host}, or it is private: ${advice}`);
    }
    if (status === 403) {
      return denied(`${endpoint.host} refuses ${this.name}: ${said || 'no reason given'}`);
    }
    return failed(`${endpoint.host} answers ${status} for ${this.name}${said && `: ${said}`}`);
  }

  private gated(page: string): TramontaneError {
    const { endpoint, token } = this.http;
    return denied(
      token === undefined
        ? `${this.name} is gated: accept its terms at ${page}, then set HF_TOKEN to a token from ${endpoint.origin}/settings/tokens`
        : `${this.name} is gated, and the account of ${token.origin} may not read it: accept its terms at ${page}, and let the token read gated repositories`,
    );
  }
}

function withoutFile({ kind, repository, revision }: HubSource): HubSource {
  return { kind, repository, revision };
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** What a server says, on one line. */
function plain(text: string | null): string {
  return (text ?? '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, 200);
}
