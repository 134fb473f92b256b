/**
 * A server that speaks the hub's protocol, and a second one that its redirects lead to: the model API
 * and `resolve` with X-Repo-Commit, X-Linked-Etag and X-Linked-Size, ranges, refusals, and faults at
 * will. It counts how often each byte was sent.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

export interface Asked {
  readonly host: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** What becomes of an answer. */
export interface Fault {
  /** Answers with this status alone. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Destroys the connection after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Flips the byte at this offset of the file. */
  readonly corruptAt?: number;
  /** Sends nothing, and keeps the connection. */
  readonly silent?: true;
  /** Sends the whole file, whatever was asked for. */
  readonly ignoreRange?: true;
}

export interface Served {
  readonly bytes: Buffer;
  /** Kept in LFS: found by a redirect to the second server. */
  readonly lfs: boolean;
}

export interface ServedRepository {
  readonly commit: string;
  readonly files: Readonly<Record<string, Served>>;
  readonly branches?: readonly string[];
  /** The token that may read it. */
  readonly gatedBy?: string;
}

const PIECE = 16 * 1024;

export function lfs(bytes: Buffer): Served {
  return { bytes, lfs: true };
}

export function small(text: string): Served {
  return { bytes: Buffer.from(text), lfs: false };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

export class HubServer {
  readonly asked: Asked[] = [];
  /** Bytes sent in all, of files. */
  sent = 0;
  /** How often each byte of a file was sent, by its hash. */
  readonly counts = new Map<string, Uint16Array>();
  /** Decides what becomes of a request. */
  fault: (asked: Asked, count: number) => Fault | undefined = () => undefined;
  /** Milliseconds between pieces of 16 kB. */
  pause = 0;
  /** Called as bytes go out. */
  onSent: (sent: number) => void = () => {};

  private constructor(
    readonly repositories: Record<string, ServedRepository>,
    private readonly servers: readonly [Server, Server],
  ) {}

  static async start(repositories: Record<string, ServedRepository>): Promise<HubServer> {
    const servers = [createServer(), createServer()] as const;
    const hub = new HubServer(repositories, servers);
    for (const [index, server] of servers.entries()) {
      server.on('request', (request, response) => {
        hub.answer(index === 0 ? 'hub' : 'cdn', request, response).catch(() => {
          response.destroy();
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  get endpoint(): string {
    return this.origin(0);
  }

  get cdn(): string {
    return this.origin(1);
  }

  async close(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Requests for bytes of files. */
  get downloads(): Asked[] {
    return this.asked.filter(({ method, host }) => method === 'GET' && host === 'cdn');
  }

  private origin(index: 0 | 1): string {
    return `http://127.0.0.1:${(this.servers[index].address() as AddressInfo).port}`;
  }

  private async answer(
    host: 'hub' | 'cdn',
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const url = new URL(request.url!, this.endpoint);
    const path = decodeURIComponent(url.pathname);
    const { range, authorization } = request.headers;
    const asked: Asked = { host, method: request.method!, path, range, authorization };
    this.asked.push(asked);
    const fault = this.fault(asked, this.asked.length) ?? {};
    if (fault.silent) return;
    if (fault.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end();
      return;
    }
    if (host === 'cdn') {
      const [, hash] = /^\/([0-9a-f]{64})$/.exec(path) ?? [];
      const file = this.allFiles().find(({ bytes }) => sha256Of(bytes) === hash);
      if (!file) response.writeHead(404).end();
      else await this.send(asked, response, file.bytes, fault, {});
      return;
    }
    const [, listed, of] = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path) ?? [];
    if (listed !== undefined) {
      const repository = this.open(listed, of!, undefined, response);
      if (repository) this.list(repository, response);
      return;
    }
    const [, name, revision, file] =
      /^\/([^/]+\/[^/]+)\/resolve\/(refs\/pr\/\d+|[^/]+)\/(.+)$/.exec(path) ?? [];
    const repository = name && this.open(name, revision!, authorization, response);
    if (!repository) {
      if (!response.headersSent) response.writeHead(404).end();
      return;
    }
    await this.resolve(asked, response, repository, file!, fault);
  }

  /** A repository, or undefined where it was refused. */
  private open(
    name: string,
    revision: string,
    authorization: string | undefined,
    response: ServerResponse,
  ): ServedRepository | undefined {
    const repository = this.repositories[name];
    const refuse = (status: number, code: string): undefined => {
      response.writeHead(status, { 'x-error-code': code, 'x-error-message': code }).end();
      return undefined;
    };
    if (repository === undefined) return refuse(401, 'RepoNotFound');
    const { gatedBy, commit, branches = ['main'] } = repository;
    // The list of a gated repository's files is for all.
    const isList = response.req.url!.startsWith('/api/');
    if (gatedBy !== undefined && !isList && authorization !== `Bearer ${gatedBy}`) {
      return refuse(authorization === undefined ? 401 : 403, 'GatedRepo');
    }
    if (revision !== commit && !branches.includes(revision)) {
      return refuse(404, 'RevisionNotFound');
    }
    return repository;
  }

  private list({ commit, files }: ServedRepository, response: ServerResponse): void {
    const siblings = Object.entries(files).map(([rfilename, { bytes, lfs: isLfs }]) => ({
      rfilename,
      size: bytes.length,
      blobId: gitHash(isLfs ? Buffer.from(sha256(bytes)) : bytes),
      ...(isLfs && { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 135 } }),
    }));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ sha: commit, siblings }));
  }

  private async resolve(
    asked: Asked,
    response: ServerResponse,
    { commit, files }: ServedRepository,
    name: string,
    fault: Fault,
  ): Promise<void> {
    const file = Object.hasOwn(files, name) ? files[name] : undefined;
    response.setHeader('x-repo-commit', commit);
    if (file === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      return;
    }
    if (file.lfs) {
      const hash = sha256Of(file.bytes);
      response.writeHead(302, {
        location: `${this.cdn}/${hash}?signature=secret`,
        'x-linked-etag': `"${hash}"`,
        'x-linked-size': String(file.bytes.length),
      });
      response.end();
      return;
    }
    await this.send(asked, response, file.bytes, fault, { etag: `"${gitHash(file.bytes)}"` });
  }

  private async send(
    { method, range }: Asked,
    response: ServerResponse,
    bytes: Buffer,
    { corruptAt, cutAfter = Infinity, ignoreRange }: Fault,
    headers: Readonly<Record<string, string>>,
  ): Promise<void> {
    const wanted = ignoreRange ? null : /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
    const start = wanted ? Number(wanted[1]) : 0;
    const end = wanted ? Math.min(Number(wanted[2]) + 1, bytes.length) : bytes.length;
    response.writeHead(wanted ? 206 : 200, {
      ...headers,
      'content-length': String(end - start),
      ...(wanted && { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
    });
    if (method === 'HEAD') {
      response.end();
      return;
    }
    const hash = sha256Of(bytes);
    const counts = this.counts.get(hash) ?? new Uint16Array(bytes.length);
    this.counts.set(hash, counts);
    for (let at = start; at < end; at += PIECE) {
      const until = Math.min(at + PIECE, end, start + cutAfter);
      const piece = Buffer.from(bytes.subarray(at, until));
      if (corruptAt !== undefined && corruptAt >= at && corruptAt < until) {
        piece[corruptAt - at]! ^= 1;
      }
      if (response.destroyed) return;
      for (let index = at; index < until; ++index) counts[index]! += 1;
      this.sent += piece.length;
      if (!response.write(piece)) {
        await new Promise<void>((resolve) => {
          const done = (): void => {
            response.off('drain', done).off('close', done);
            resolve();
          };
          response.on('drain', done).on('close', done);
        });
      }
      this.onSent(this.sent);
      if (until === start + cutAfter) {
        await wait(5); // Let what was written go out.
        response.destroy();
        return;
      }
      if (this.pause > 0) await wait(this.pause);
    }
    response.end();
  }

  private allFiles(): Served[] {
    return Object.values(this.repositories).flatMap(({ files }) => Object.values(files));
  }
}

const hashes = new WeakMap<Buffer, string>();

/** Of large files once. */
function sha256Of(bytes: Buffer): string {
  const known = hashes.get(bytes);
  if (known !== undefined) return known;
  const hash = sha256(bytes);
  hashes.set(bytes, hash);
  return hash;
}
