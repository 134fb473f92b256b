/** The images and compose files: linted, by the Compose schema, and that what is copied is there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import Ajv from 'ajv';
import { validate } from 'dockerfile-utils';
import { documents, files, read, root } from './tools';

const dockerfiles = ['docker/Dockerfile', 'docker/Dockerfile.cuda'];

/** Instructions with their continuation lines joined. */
function instructions(text: string): readonly (readonly [name: string, rest: string])[] {
  return text
    .replace(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, name, rest] = /^(\S+)\s+(.*)$/.exec(line)!;
      return [name!, rest!] as const;
    });
}

describe.each(dockerfiles)('%s', (path) => {
  const lines = instructions(read(path));

  test('has nothing a linter complains of', () => {
    expect(validate(read(path)).map(({ message }) => message)).toEqual([]);
  });

  test('copies files that are there and that .dockerignore lets through', () => {
    const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    const sources = lines
      .filter(([name, rest]) => name === 'COPY' && !rest.startsWith('--from='))
      .flatMap(([, rest]) => rest.split(/\s+/).slice(0, -1));
    expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([]);
    expect(sources.filter((source) => !allowed.includes(source))).toEqual([]);
  });

  test('runs as a user that is not root, given by number', () => {
    const last = lines.findLastIndex(([name]) => name === 'FROM');
    const users = lines.slice(last).filter(([name]) => name === 'USER');
    expect(users).toEqual([['USER', '1000:1000']]);
  });
});

test('an init runs node itself', () => {
  const [, entry] = instructions(read('docker/Dockerfile')).find(
    ([name]) => name === 'ENTRYPOINT',
  )!;
  expect((JSON.parse(entry) as string[]).slice(0, 3)).toEqual(['/usr/bin/tini', '--', 'node']);
});

describe('the health check', () => {
  const [, check] = instructions(read('docker/Dockerfile')).find(
    ([name]) => name === 'HEALTHCHECK',
  )!;
  const [program, ...args] = JSON.parse(/CMD (.*)$/.exec(check)![1]!) as string[];
  const exitCode = (port: number): Promise<number | null> =>
    new Promise((resolve) => {
      const command = args.map((arg) => arg.replace(':8000', `:${port}`));
      expect(command).not.toEqual(args);
      spawn(program!, command).on('exit', resolve);
    });

  test.each([
    [200, 0],
    [503, 1],
  ])('a server that answers %d: exit code %d', async (status, code) => {
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/health' ? status : 404).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await exitCode(port)).toBe(code);
    server.close();
    // Nobody listens there now.
    await once(server, 'close');
    expect(await exitCode(port)).toBe(1);
  });
});

describe('compose', () => {
  const schema = join(
    dirname(require.resolve('dclint/package.json')),
    'schemas/compose.schema.json',
  );
  const matches = new Ajv({ strict: false, validateFormats: false }).compile({
    ...(JSON.parse(readFileSync(schema, 'utf8')) as object),
    // It gives the same by an https address, which ajv does not know.
    $schema: 'http://json-schema.org/draft-07/schema#',
  });

  test.each(files('compose', '.yaml'))('%s is valid', (path) => {
    const [document] = documents(read(path));
    matches(document);
    expect(matches.errors ?? []).toEqual([]);
  });

  test('a field that Compose does not have is seen', () => {
    expect(matches({ services: { tramontane: { imagge: 'tramontane' } } })).toBe(false);
  });
});
