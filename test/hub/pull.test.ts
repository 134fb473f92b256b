/** What is fetched, from a server that speaks the hub's protocol and fails in the ways servers do. */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  mkdirSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  Model,
  inspect,
  loadTokenizer,
  pull,
  type PullOptions,
  type PullProgress,
} from '../../lib';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { findPulled, pullWith, type PullSettings } from '../../lib/hub/pull';
import { gitHash, HubServer, lfs, sha256, small, type Asked } from './hub-server';

const CHUNK = 64 * 1024;
const quick: Partial<PullSettings> = { chunkBytes: CHUNK, tries: 4, pauseMs: 5, timeoutMs: 5_000 };
const commit = 'c0'.repeat(20);
const large = randomBytes(10 * CHUNK + 1234);
const config = '{ "model_type": "mistral" }\n';

let hub: HubServer;
let cacheDirectory: string;
const outer = { ...process.env };

beforeEach(async () => {
  hub = await HubServer.start({
    'Own/Model-GGUF': {
      commit,
      branches: ['main', 'dev', 'refs/pr/1'],
      files: {
        'm.Q4_K_M.gguf': lfs(large),
        'm.Q8_0.gguf': lfs(randomBytes(3 * CHUNK)),
        'breeze.Q4_0.gguf': lfs(readFileSync(EMBEDDED_MODEL)),
        'config.json': small(config),
        'empty.txt': small(''),
      },
    },
    'Own/Gptq': {
      commit,
      files: {
        'config.json': small(config),
        'tokenizer.json': small('{}'),
        'model.safetensors': lfs(large),
        'pytorch_model.bin': lfs(randomBytes(100)),
      },
    },
    'Own/Split-GGUF': {
      commit,
      files: Object.fromEntries(
        [1, 2, 3].map((n) => [`m-Q8_0-0000${n}-of-00003.gguf`, lfs(randomBytes(1000 * n))]),
      ),
    },
    'Own/Gated': { commit, gatedBy: 'hf_right', files: { 'm.gguf': lfs(large) } },
  });
  cacheDirectory = mkdtempSync(join(tmpdir(), 'tramontane-hub-'));
  for (const name of Object.keys(process.env)) {
    if (/^(HF|HUGGING)/.test(name)) Reflect.deleteProperty(process.env, name);
  }
  process.env['HF_ENDPOINT'] = hub.endpoint;
  process.env['HF_HOME'] = join(cacheDirectory, 'home');
});

afterEach(async () => {
  await hub.close();
  rmSync(cacheDirectory, { recursive: true, force: true });
  process.env = { ...outer };
});

function get(source: string, options: PullOptions = {}, settings: Partial<PullSettings> = {}) {
  return pullWith(source, { cacheDirectory, ...options }, { ...quick, ...settings });
}

function failure(source: string, options?: PullOptions, settings?: Partial<PullSettings>) {
  return get(source, options, settings).then(
    (path) => {
      throw new Error(`it gave ${path}`);
    },
    (error: unknown) => {
      const { code, message } = error as { code: string; message: string };
      expect(message).not.toContain('\n');
      return { code, message };
    },
  );
}

const repository = (name = 'Model-GGUF') => join(cacheDirectory, `models--Own--${name}`);
const blobs = () => readdirSync(join(repository(), 'blobs'));
const isData = ({ host, method }: Asked) => host === 'cdn' && method === 'GET';

describe('the cache is laid out as huggingface_hub does it', () => {
  test('blobs by sha256 or git’s hash, links that lead to them, the revision’s commit', async () => {
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    const snapshot = join(repository(), 'snapshots', commit);
    expect(path).toBe(join(snapshot, 'm.Q4_K_M.gguf'));
    expect(readFileSync(path).equals(large)).toBe(true);
    expect(readlinkSync(path)).toBe(join('..', '..', 'blobs', sha256(large)));
    await get('hf:Own/Model-GGUF/config.json');
    expect(readlinkSync(join(snapshot, 'config.json'))).toBe(
      join('..', '..', 'blobs', gitHash(Buffer.from(config))),
    );
    expect(readFileSync(join(repository(), 'refs', 'main'), 'utf8')).toBe(commit);
    expect(blobs().sort()).toEqual([sha256(large), gitHash(Buffer.from(config))].sort());
  });

  test('nothing but locks is beside, and no lock is left', async () => {
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(readdirSync(cacheDirectory).sort()).toEqual([
      '.locks',
      'CACHEDIR.TAG',
      'models--Own--Model-GGUF',
    ]);
    expect(readdirSync(join(cacheDirectory, '.locks', 'models--Own--Model-GGUF'))).toEqual([]);
  });

  test('branches with slashes are files in directories', async () => {
    await get('hf:Own/Model-GGUF@refs/pr/1/config.json');
    const ref = join(repository(), 'refs', 'refs', 'pr', '1');
    expect(readFileSync(ref, 'utf8')).toBe(commit);
  });

  test('a file that Python’s tools fetched is not fetched again', async () => {
    const folder = join(repository(), 'snapshots', commit);
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(repository(), 'blobs'));
    writeFileSync(join(repository(), 'blobs', sha256(large)), large);
    symlinkSync(join('..', '..', 'blobs', sha256(large)), join(folder, 'm.Q4_K_M.gguf'));
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(hub.sent).toBe(0);
  });

  test('the same bytes by another name are linked, not fetched', async () => {
    await get('hf:Own/Model-GGUF:Q4_K_M');
    const { sent } = hub;
    const other = 'd1'.repeat(20);
    const before = hub.repositories['Own/Model-GGUF']!;
    hub.repositories['Own/Model-GGUF'] = { ...before, commit: other };
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(path).toContain(other);
    expect(hub.sent).toBe(sent);
    expect(readFileSync(join(repository(), 'refs', 'main'), 'utf8')).toBe(other);
  });

  test('where no links can be made, the file lies in the snapshot, once', async () => {
    process.env['HF_HUB_DISABLE_SYMLINKS'] = '1';
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(lstatSync(path).isFile()).toBe(true);
    expect(blobs()).toEqual([]);
    const { sent } = hub;
    expect(await get('hf:Own/Model-GGUF:Q4_K_M')).toBe(path);
    expect(hub.sent).toBe(sent);
  });

  test('HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME say where', async () => {
    const at = (name: string) => join(cacheDirectory, name);
    const places: [Record<string, string>, string][] = [
      [{ HF_HUB_CACHE: at('one'), HF_HOME: at('two') }, at('one')],
      [{ HF_HOME: at('two'), XDG_CACHE_HOME: at('three') }, join(at('two'), 'hub')],
      [{ XDG_CACHE_HOME: at('three') }, join(at('three'), 'huggingface', 'hub')],
    ];
    for (const [variables, expected] of places) {
      for (const name of ['HF_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME']) {
        Reflect.deleteProperty(process.env, name);
      }
      Object.assign(process.env, variables);
      const path = await pull('hf:Own/Model-GGUF/config.json');
      expect(path.startsWith(join(expected, 'models--Own--Model-GGUF'))).toBe(true);
    }
  });
});

describe('what is fetched', () => {
  test('in pieces over several connections, each byte once', async () => {
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(hub.downloads.length).toBe(11);
    expect(hub.counts.get(sha256(large))!.every((count) => count === 1)).toBe(true);
  });

  test('all parts of a split file, whichever is named; the first is opened', async () => {
    const path = await get('hf:Own/Split-GGUF/m-Q8_0-00002-of-00003.gguf');
    expect(path).toMatch(/00001-of-00003\.gguf$/);
    const folder = join(repository('Split-GGUF'), 'snapshots', commit);
    expect(readdirSync(folder).length).toBe(3);
  });

  test('a GPTQ repository as a directory, without pickles', async () => {
    const path = await get('hf:Own/Gptq');
    expect(readdirSync(path).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
  });

  test('an empty file', async () => {
    expect(readFileSync(await get('hf:Own/Model-GGUF/empty.txt'), 'utf8')).toBe('');
  });

  test('file: URLs and paths are what they are', async () => {
    expect(await get(pathToFileURL(EMBEDDED_MODEL).href)).toBe(EMBEDDED_MODEL);
    expect(await get(EMBEDDED_MODEL)).toBe(EMBEDDED_MODEL);
    expect((await failure('/no/such.gguf')).code).toBe('FILE_NOT_READABLE');
    expect(hub.asked).toEqual([]);
  });

  test('progress goes from 0 to all, and says what was chosen', async () => {
    const seen: PullProgress[] = [];
    await get('hf:Own/Model-GGUF', { onProgress: (progress) => seen.push(progress) });
    expect(seen[0]).toMatchObject({ phase: 'choose', totalBytes: large.length, bytes: 0 });
    expect(seen[0]!.note).toMatch(/^taking Q4_K_M/);
    expect(seen.at(-1)).toMatchObject({ phase: 'ready', fraction: 1, bytes: large.length });
    expect(seen.map(({ phase }) => phase)).toEqual(expect.arrayContaining(['download', 'verify']));
  });

  test('a commit that is here whole needs no server; a branch is asked for again', async () => {
    await get(`hf:Own/Model-GGUF@${commit}:Q4_K_M`);
    const before = hub.asked.length;
    await get(`hf:Own/Model-GGUF@${commit}:Q4_K_M`);
    expect(hub.asked.length).toBe(before);
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(hub.asked.length).toBeGreaterThan(before);
  });

  test('Model.load(), inspect() and loadTokenizer() take sources, and then need no server', async () => {
    process.env['HF_HUB_CACHE'] = cacheDirectory;
    const phases: string[] = [];
    const fractions: number[] = [];
    const source = 'hf:Own/Model-GGUF:Q4_0';
    const model = await Model.load(source, {
      onProgress: ({ phase, fraction }) => {
        phases.push(phase);
        fractions.push(fraction);
      },
    });
    expect(model.info.path).toBe(await findPulled(source));
    await model.dispose();
    expect(phases[0]).toBe('download');
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    const before = hub.asked.length;
    expect((await inspect(source)).kind).toBe('gguf');
    expect((await loadTokenizer(source)).vocabularySize).toBe(1024);
    await (await Model.load(source)).dispose();
    expect(hub.asked.length).toBe(before);
  });
});

describe('faults that pass', () => {
  test.each([429, 503])('%i is waited for as long as Retry-After says', async (status) => {
    const at: number[] = [];
    hub.fault = (asked) => {
      if (!isData(asked)) return undefined;
      at.push(performance.now());
      return at.length === 1 ? { status, headers: { 'retry-after': '1' } } : undefined;
    };
    const path = await get('hf:Own/Model-GGUF:Q4_K_M', {}, { connections: 1 });
    expect(readFileSync(path).equals(large)).toBe(true);
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(990);
  });

  test('a busy hub is asked again', async () => {
    const refused = new Set<string>();
    hub.fault = ({ method, path, host }) => {
      if (host !== 'hub' || refused.has(method + path)) return undefined;
      refused.add(method + path);
      return { status: 502 };
    };
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(refused.size).toBe(2);
  });

  test('connections that are cut go on where they were', async () => {
    let cuts = 0;
    hub.fault = (asked) => (isData(asked) && ++cuts % 2 === 1 ? { cutAfter: 20_000 } : undefined);
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(readFileSync(path).equals(large)).toBe(true);
    expect(cuts).toBeGreaterThan(11);
    // What a connection had under way when it was cut may come twice, and no more.
    expect(hub.sent - large.length).toBeLessThanOrEqual(cuts * 20_000);
  });

  test('a connection that is silent is given up', async () => {
    let silent = 0;
    hub.fault = (asked) => (isData(asked) && silent++ < 2 ? { silent: true } : undefined);
    const path = await get('hf:Own/Model-GGUF:Q4_K_M', {}, { timeoutMs: 200 });
    expect(readFileSync(path).equals(large)).toBe(true);
  });

  test('an address that has run out is asked for anew', async () => {
    let served = 0;
    hub.fault = (asked) => (isData(asked) && ++served === 3 ? { status: 403 } : undefined);
    await get('hf:Own/Model-GGUF:Q4_K_M', {}, { connections: 1 });
    const heads = hub.asked.filter(({ method }) => method === 'HEAD');
    expect(heads.length).toBe(2);
  });

  test('a server without ranges gives the file whole', async () => {
    hub.fault = (asked) => (isData(asked) ? { ignoreRange: true } : undefined);
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(readFileSync(path).equals(large)).toBe(true);
  });

  test('a hub that cannot be reached: what is here is taken, and it is said', async () => {
    const path = await get('hf:Own/Model-GGUF:Q4_K_M');
    hub.fault = () => ({ status: 503 });
    const notes: (string | undefined)[] = [];
    const options = { onProgress: ({ note }: PullProgress) => notes.push(note) };
    expect(await get('hf:Own/Model-GGUF:Q4_K_M', options)).toBe(path);
    expect(notes[0]).toMatch(/503.*taking what is here/);
    expect((await failure('hf:Own/Model-GGUF:Q8_0')).code).toBe('DOWNLOAD_FAILED');
  });
});

describe('faults that do not', () => {
  test('a damaged byte is an error, and the file is deleted', async () => {
    hub.fault = (asked) => (isData(asked) ? { corruptAt: 5 * CHUNK + 7 } : undefined);
    const { code, message } = await failure('hf:Own/Model-GGUF:Q4_K_M');
    expect(code).toBe('DOWNLOAD_FAILED');
    expect(message).toMatch(new RegExp(`m\\.Q4_K_M\\.gguf came damaged.*${sha256(large)}`));
    expect(blobs()).toEqual([]);
    expect(await findPulled('hf:Own/Model-GGUF:Q4_K_M', { cacheDirectory })).toBeUndefined();
    hub.fault = () => undefined;
    expect(readFileSync(await get('hf:Own/Model-GGUF:Q4_K_M')).equals(large)).toBe(true);
  });

  test('so it is in a small file, by git’s hash', async () => {
    hub.fault = ({ method }) => (method === 'GET' ? { corruptAt: 3 } : undefined);
    const { code, message } = await failure('hf:Own/Model-GGUF/config.json');
    expect(code).toBe('DOWNLOAD_FAILED');
    expect(message).toMatch(/config\.json came damaged.*git's hash/);
    expect(blobs()).toEqual([]);
  });

  test('a server that only fails ends it; what has come is kept', async () => {
    let served = 0;
    hub.fault = (asked) => (isData(asked) && ++served > 5 ? { status: 500 } : undefined);
    const { code, message } = await failure('hf:Own/Model-GGUF:Q4_K_M', {}, { connections: 1 });
    expect(code).toBe('DOWNLOAD_FAILED');
    expect(message).toMatch(/500.*tried 4 times.*kept/);
    hub.fault = () => undefined;
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(hub.sent).toBe(large.length);
  });

  test('a long Retry-After is said, not waited for', async () => {
    hub.fault = () => ({ status: 429, headers: { 'retry-after': '3600' } });
    expect((await failure('hf:Own/Model-GGUF:Q4_K_M')).message).toMatch(/429.*wait 3600 s/);
  });

  test('too little room is said first, with both numbers', async () => {
    const freeBytes = () => Promise.resolve(500_000);
    const { code, message } = await failure('hf:Own/Model-GGUF:Q4_K_M', {}, { freeBytes });
    expect(code).toBe('FILE_NOT_WRITABLE');
    expect(message).toMatch(/needs 0\.7 MB.*has 0\.5 MB left/);
    expect(hub.sent).toBe(0);
  });

  test('an abort ends it with its reason, and the next one goes on', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    hub.onSent = (sent) => {
      if (sent > 5 * CHUNK) controller.abort(reason);
    };
    hub.pause = 1;
    await expect(get('hf:Own/Model-GGUF:Q4_K_M', { signal: controller.signal })).rejects.toBe(
      reason,
    );
    hub.onSent = () => {};
    await get('hf:Own/Model-GGUF:Q4_K_M');
    expect(hub.sent).toBeLessThanOrEqual(large.length + 4 * CHUNK);
  });
});

describe('refusals are one line that says what to do', () => {
  test.each([
    ['hf:Own/Nothing', 'FILE_NOT_READABLE', /no hf:Own\/Nothing .*private: check the name/],
    ['hf:Own/Model-GGUF@old', 'FILE_NOT_READABLE', /no revision old/],
    ['hf:Own/Model-GGUF/x.gguf', 'FILE_NOT_READABLE', /no file x\.gguf/],
    ['hf:Own/Model-GGUF:Q3_K_M', 'FILE_NOT_READABLE', /there are: Q4_0, Q4_K_M, Q8_0/],
    ['hf:Own/Gated', 'ACCESS_DENIED', /gated: accept its terms at http.*HF_TOKEN/],
  ])('%s', async (source, code, message) => {
    const error = await failure(source);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  test('a gated repository, with a token that may not read it', async () => {
    process.env['HF_TOKEN'] = 'hf_wrong';
    const { code, message } = await failure('hf:Own/Gated/m.gguf');
    expect(code).toBe('ACCESS_DENIED');
    expect(message).toMatch(/account of HF_TOKEN may not read it/);
    expect(message).not.toContain('hf_wrong');
  });

  test('offline nothing is asked, and what is missing is said', async () => {
    process.env['HF_HUB_OFFLINE'] = '1';
    const { code, message } = await failure('hf:Own/Model-GGUF:Q4_K_M');
    expect(code).toBe('DOWNLOAD_FAILED');
    expect(message).toMatch(/HF_HUB_OFFLINE/);
    expect(hub.asked).toEqual([]);
    Reflect.deleteProperty(process.env, 'HF_HUB_OFFLINE');
    const path = await get('hf:Own/Model-GGUF');
    process.env['HF_HUB_OFFLINE'] = '1';
    const before = hub.asked.length;
    expect(await get('hf:Own/Model-GGUF')).toBe(path);
    expect(hub.asked.length).toBe(before);
  });

  test.each(['../../evil', 'a\\..\\evil', '/evil', 'x/../../evil'])(
    'a list with the name %s is refused',
    async (name) => {
      hub.repositories['Own/Evil'] = {
        commit,
        files: { 'm.gguf': lfs(large), [name]: lfs(large) },
      };
      const { code, message } = await failure('hf:Own/Evil');
      expect(code).toBe('DOWNLOAD_FAILED');
      expect(message).toMatch(/leads elsewhere/);
      expect(existsSync(repository('Evil'))).toBe(false);
    },
  );

  test.each([
    ['x-repo-commit', '../../evil', /no X-Repo-Commit/],
    ['x-linked-etag', '"../../evil"', /no ETag/],
    ['x-linked-size', '-1', /no size/],
  ])('a header %s of %s is refused', async (header, value, message) => {
    const server = createServer((_, response) => {
      const right = { 'x-repo-commit': commit, 'x-linked-etag': `"${'0'.repeat(64)}"` };
      const headers = { ...right, 'x-linked-size': '5', location: 'http://127.0.0.1:1/x' };
      response.writeHead(302, { ...headers, [header]: value }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    process.env['HF_ENDPOINT'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect((await failure('hf:Own/Model-GGUF/m.gguf')).message).toMatch(message);
    server.close();
  });

  test('options that do not exist or do not fit', async () => {
    expect((await failure('hf:O/R', { revison: 'x' } as PullOptions)).message).toMatch(/revison/);
    expect((await failure('hf:O/R', { revision: '../x' })).code).toBe('INVALID_OPTION');
    expect((await failure('hf:O/R@a', { revision: 'b' })).message).toMatch(/another revision/);
    expect((await failure('hf:O/R', { token: 'a\nb' })).code).toBe('INVALID_OPTION');
  });
});

describe('the token', () => {
  const seen = () => hub.asked.filter(({ authorization }) => authorization !== undefined);

  test('goes to the hub, and never where it redirects to', async () => {
    process.env['HF_TOKEN'] = 'hf_right';
    const path = await get('hf:Own/Gated');
    expect(readFileSync(path).equals(large)).toBe(true);
    expect(seen().length).toBeGreaterThan(0);
    expect(seen().every(({ host }) => host === 'hub')).toBe(true);
    expect(seen()[0]!.authorization).toBe('Bearer hf_right');
  });

  test('is read from the file of HF_TOKEN_PATH or of HF_HOME', async () => {
    mkdirSync(process.env['HF_HOME']!);
    writeFileSync(join(process.env['HF_HOME']!, 'token'), 'hf_right\n');
    await get('hf:Own/Gated');
    const named = join(cacheDirectory, 'elsewhere');
    writeFileSync(named, 'hf_named');
    process.env['HF_TOKEN_PATH'] = named;
    expect((await failure('hf:Own/Gated/x.gguf')).message).toMatch(
      new RegExp(`account of ${named}`),
    );
  });

  test('of the option comes first; false sends none', async () => {
    process.env['HF_TOKEN'] = 'hf_wrong';
    await get('hf:Own/Gated', { token: 'hf_right' });
    const before = seen().length;
    await get('hf:Own/Model-GGUF:Q8_0', { token: false });
    expect(seen().length).toBe(before);
  });

  test('does not go to servers of URLs', async () => {
    process.env['HF_TOKEN'] = 'hf_right';
    await get(`${hub.cdn}/${sha256(large)}`);
    expect(seen()).toEqual([]);
  });
});

describe('a URL', () => {
  const url = () => `${hub.cdn}/${sha256(large)}`;

  test('is fetched in pieces, and taken from the disk the next time', async () => {
    const path = await get(url());
    expect(readFileSync(path).equals(large)).toBe(true);
    const before = hub.asked.length;
    expect(before).toBe(12);
    expect(await get(url())).toBe(path);
    expect(hub.asked.length).toBe(before);
    expect(path.startsWith(join(cacheDirectory, 'urls'))).toBe(true);
  });

  test('with a hash is checked by it', async () => {
    const { code } = await failure(`${url()}#sha256=${'0'.repeat(64)}`);
    expect(code).toBe('DOWNLOAD_FAILED');
    await get(`${url()}#sha256=${sha256(large)}`);
  });

  test('that does not exist', async () => {
    expect((await failure(`${hub.cdn}/nothing.gguf`)).code).toBe('FILE_NOT_READABLE');
  });
});

test('two that pull the same at once fetch it once', async () => {
  hub.pause = 2;
  const notes: string[] = [];
  const onProgress = ({ note, phase }: PullProgress) => {
    if (phase === 'wait') notes.push(note!);
  };
  const paths = await Promise.all([
    get('hf:Own/Model-GGUF:Q4_K_M', { onProgress }),
    get('hf:Own/Model-GGUF:Q4_K_M', { onProgress }),
  ]);
  expect(paths[0]).toBe(paths[1]);
  expect(readFileSync(paths[0]).equals(large)).toBe(true);
  expect(hub.sent).toBe(large.length);
  expect(notes).toEqual([expect.stringMatching(/^process \d+ fetches m\.Q4_K_M\.gguf/)]);
});
