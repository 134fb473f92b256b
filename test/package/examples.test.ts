/**
 * The examples, with the packed package. One whose packages are not installed is skipped: `npm run
 * test:examples` installs them.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { addPrebuilt, installWithoutScripts, pack, type Packed } from './packed';

const root = join(__dirname, '../..');
const examples = join(root, 'examples');
const MODULES = ['node_modules', 'examples/node_modules', 'test/clients/node_modules'];

let packed: Packed;
/** A project with the examples and the package. */
let project: string;

beforeAll(() => {
  packed = pack();
  project = join(packed.folder, 'project');
  cpSync(examples, project, {
    recursive: true,
    filter: (path) => !/node_modules|\.next|dist$/.test(path),
  });
  addPrebuilt(installWithoutScripts(packed, project));
}, 120_000);

afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

/** Runs with these packages, or is skipped without them. */
function example(name: string, packages: readonly string[], body: () => Promise<void>): void {
  const folders = packages.map((each) =>
    MODULES.map((modules) => join(root, modules, each)).find((folder) => existsSync(folder)),
  );
  if (folders.includes(undefined)) {
    test.skip(`${name}: npm run test:examples installs ${packages.join()}`, () => {});
    return;
  }
  test(name, async () => {
    packages.forEach((each, index) => {
      const place = join(project, 'node_modules', each);
      if (existsSync(place)) return;
      mkdirSync(dirname(place), { recursive: true });
      symlinkSync(folders[index]!, place);
    });
    await body();
  });
}

const environment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  PORT: '0',
  AI_SDK_LOG_WARNINGS: 'false',
  NEXT_TELEMETRY_DISABLED: '1',
  ...more,
});

/** What a program printed; its end is success. */
async function output(...args: readonly string[]): Promise<string> {
  const options = { cwd: project, env: environment() };
  return (await promisify(execFile)(process.execPath, args, options)).stdout;
}

/** Has a server, by its address, until the body ends; then asks it to end, and waits. */
async function serving(
  args: readonly string[],
  body: (url: string) => Promise<void>,
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<void> {
  const server: ChildProcess = spawn(process.execPath, args, {
    cwd: options.cwd ?? project,
    env: environment(options.env),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let url: string | undefined;
    for await (const line of createInterface(server.stdout!)) {
      url = /http:\/\/(?:127\.0\.0\.1|localhost):\d+/.exec(line)?.[0];
      if (url !== undefined) break;
    }
    if (url === undefined) throw new Error('the server ended before it listened');
    server.stdout!.resume();
    await body(url.replace('localhost', '127.0.0.1'));
    const exited = once(server, 'exit');
    server.kill('SIGTERM');
    await exited;
  } finally {
    server.kill('SIGKILL');
  }
}

/** The text that a route streams: more than one piece. */
async function streamed(url: string): Promise<string> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  expect(response.headers.get('transfer-encoding')).toBe('chunked');
  return await response.text();
}

example('express', ['express'], async () => {
  await serving(['express/server.mjs'], async (url) => {
    expect((await streamed(url)).length).toBeGreaterThan(50);
    expect((await fetch(`${url}/?prompt=`)).status).toBe(400);
  });
});

example('fastify', ['fastify'], async () => {
  await serving(['fastify/server.mjs'], async (url) => {
    expect((await streamed(url)).length).toBeGreaterThan(50);
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ text: 'Rex barks.' });
    const pet = await (await fetch(`${url}/pets`, { method: 'POST', headers, body })).json();
    expect(pet).toEqual({
      kind: expect.stringMatching(/^(cat|dog)$/),
      tame: expect.any(Boolean),
    });
  });
});

example('next: built, it streams', ['next', 'react', 'react-dom'], async () => {
  const cwd = join(project, 'next');
  const next = join(project, 'node_modules/next/dist/bin/next');
  symlinkSync(join(project, 'node_modules'), join(cwd, 'node_modules'));
  await promisify(execFile)(process.execPath, [next, 'build'], { cwd, env: environment() });
  await serving(
    [next, 'start', '--port', '0', '--hostname', '127.0.0.1'],
    async (url) => {
      expect((await streamed(`${url}/api/generate`)).length).toBeGreaterThan(50);
    },
    { cwd },
  );
});

example('worker', [], async () => {
  expect(await output('worker/main.mjs')).toMatch(/.{20,}\n(\d+) and (\d+) tokens\n$/s);
});

example('cluster', [], async () => {
  await serving(['cluster/main.mjs'], async (url) => {
    const texts = await Promise.all([1, 2, 3, 4].map(() => streamed(url)));
    for (const text of texts) expect(text.length).toBeGreaterThan(20);
  });
});

example('utility process', [], async () => {
  expect(await output('utility-process/main.mjs')).toMatch(/.{20,}\n(\d+) tokens\n$/s);
});

example('langchain', ['@langchain/core'], async () => {
  expect((await output('langchain/main.mjs')).length).toBeGreaterThan(20);
});

example('ai-sdk', ['ai', '@ai-sdk/provider'], async () => {
  expect(await output('ai-sdk/main.mjs')).toMatch(
    /.{20,}\n\{"city":"(Perpignan|Trieste)","sky":"clear"\}\n$/s,
  );
});

example('webpack', ['webpack'], async () => {
  await output('webpack/build.mjs');
  expect((await output('webpack/dist/main.cjs')).length).toBeGreaterThan(20);
});

test('each has a line in the README of the examples, and a test here', () => {
  const folders = readdirSync(examples, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .map(({ name }) => name);
  const readme = readFileSync(join(examples, 'README.md'), 'utf8');
  const tests = readFileSync(__filename, 'utf8');
  expect(folders.length).toBeGreaterThan(5);
  for (const name of folders) {
    expect(readme).toContain(`| \`${name}\``);
    expect(tests).toMatch(new RegExp(`'${name}/|'${name}'`));
  }
});
