/** An npm registry on this machine that has one package of its own and asks another for the rest. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Registry {
  readonly url: string;
  close(): void;
}

/**
 * @param manifest the package.json of the package
 * @param tarball the file of its only version
 * @param upstream the registry of all other packages
 */
export async function startRegistry(
  manifest: { readonly name: string; readonly version: string },
  tarball: string,
  upstream: string,
): Promise<Registry> {
  const { name, version } = manifest;
  const bytes = readFileSync(tarball);
  const hash = (algorithm: string, encoding: 'hex' | 'base64') =>
    createHash(algorithm).update(bytes).digest(encoding);
  // pnpm does not trust what is younger than a day.
  const published = '2026-01-01T00:00:00.000Z';

  async function answer({ url = '', headers }: IncomingMessage, response: ServerResponse) {
    if (url === `/${name}/-/${name}.tgz`) {
      response.end(bytes);
    } else if (url === `/${name}`) {
      const dist = {
        tarball: `http://${headers.host ?? ''}/${name}/-/${name}.tgz`,
        shasum: hash('sha1', 'hex'),
        integrity: `sha512-${hash('sha512', 'base64')}`,
      };
      const description = {
        name,
        'dist-tags': { latest: version },
        time: { created: published, modified: published, [version]: published },
        versions: { [version]: { ...manifest, dist } },
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(description));
    } else {
      const { accept = '*/*' } = headers;
      const got = await fetch(upstream.replace(/\/$/, '') + url, { headers: { accept } });
      response.statusCode = got.status;
      response.setHeader('content-type', got.headers.get('content-type') ?? '');
      response.end(Buffer.from(await got.arrayBuffer()));
    }
  }

  const server: Server = createServer((request, response) => {
    answer(request, response).catch(() => {
      response.statusCode = 502;
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${String(port)}/`, close: () => server.close() };
}
