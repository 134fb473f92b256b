/** Adapters of a server: their names in requests, and loading and unloading while it runs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Model, type Adapter } from '../../lib';
import type { Server, ServerOptions } from '../../lib/server';
import { createServer } from '../server/checked-server';
import { buildAdapter, writeAdapter, writeModel } from './builder';

let directory: string;
let model: Model;
let adapter: Adapter;
let paths: string[];
let server: Server;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-served-'));
  writeModel(join(directory, 'model'));
  model = await Model.load(join(directory, 'model'), { backend: 'cpu' });
  paths = [7, 8].map((seed) =>
    writeAdapter(join(directory, `a${seed}`), buildAdapter(4, 8, { seed })),
  );
  adapter = await model.loadAdapter(paths[0]!, { name: 'legal' });
});
afterEach(() => server.close());
afterAll(async () => {
  await model.dispose();
  rmSync(directory, { recursive: true, force: true });
});

function serve(options: ServerOptions = {}): void {
  server = createServer([{ names: ['tiny', 'org/tiny:7b'], model, adapters: [adapter] }], options);
}

async function send(url: string, body: object): Promise<{ status: number; json: unknown }> {
  const { statusCode, payload } = await server.inject({ method: 'POST', url, payload: body });
  return { status: statusCode, json: JSON.parse(payload) as unknown };
}

/** What a model, or an adapter, of this name goes on with. */
async function complete(name: string | undefined): Promise<{ status: number; text: string }> {
  const body = { ...(name !== undefined && { model: name }), prompt: 'a b', max_tokens: 12 };
  const { status, json } = await send('/v1/completions', { ...body, temperature: 0 });
  const { choices } = json as { choices?: { text: string }[] };
  return { status, text: choices?.[0]?.text ?? JSON.stringify(json) };
}

function generated(use?: Adapter): Promise<string> {
  return model.generate('a b', { maxTokens: 12, temperature: 0, adapter: use }).text();
}

test('requests name an adapter, or its model and it', async () => {
  serve();
  const [plain, adapted] = [await generated(), await generated(adapter)];
  expect(adapted).not.toBe(plain);
  for (const name of ['legal', 'tiny:legal', 'org/tiny:7b:legal']) {
    expect(await complete(name)).toEqual({ status: 200, text: adapted });
  }
  for (const name of [undefined, 'tiny', 'org/tiny:7b']) {
    expect(await complete(name)).toEqual({ status: 200, text: plain });
  }
  for (const name of ['other', 'tiny:other', 'legal:legal', 'other:legal', ':legal', 'tiny:tiny']) {
    const { status, text } = await complete(name);
    expect(status).toBe(404);
    expect(text).toContain("this server has 'tiny', 'org/tiny:7b', 'legal'");
  }
});

test('answers carry its name, and their own fingerprint', async () => {
  serve();
  const body = { model: 'tiny:legal', prompt: 'a', max_tokens: 1 };
  const own = (await send('/v1/completions', body)).json as Record<string, unknown>;
  const base = (await send('/v1/completions', { ...body, model: 'tiny' })).json;
  expect(own['model']).toBe('legal');
  expect(own['system_fingerprint']).toMatch(/^fp_/);
  expect(own['system_fingerprint']).not.toBe((base as typeof own)['system_fingerprint']);
});

test('/v1/models says whose it is', async () => {
  serve();
  const list = (await server.inject('/v1/models')).json<{ data: object[] }>();
  expect(list.data).toMatchObject([
    { id: 'tiny', parent: null },
    { id: 'org/tiny:7b', parent: null },
    { id: 'legal', parent: 'tiny', root: 'legal' },
  ]);
  const one = (await server.inject('/v1/models/legal')).json<object>();
  expect(one).toMatchObject({ id: 'legal', parent: 'tiny' });
});

test('models alone judge', async () => {
  serve();
  const { status, json } = await send('/v1/moderations', { model: 'legal', input: 'a' });
  expect(status).toBe(400);
  expect(json).toMatchObject({ error: { param: 'model' } });
});

test('without the option nothing is loaded', async () => {
  serve();
  const body = { lora_name: 'sql', lora_path: paths[1] };
  expect((await send('/v1/load_lora_adapter', body)).status).toBe(404);
  expect((await send('/v1/unload_lora_adapter', { lora_name: 'legal' })).status).toBe(404);
});

test('adapters are loaded, swapped and unloaded while the server runs', async () => {
  serve({ allowAdapterLoading: true });
  using second = await model.loadAdapter(paths[1]!);
  using same = await model.loadAdapter(paths[0]!);
  const texts = [await generated(same), await generated(second)];
  const load = (more: object = {}): ReturnType<typeof send> =>
    send('/v1/load_lora_adapter', { lora_name: 'sql', lora_path: paths[1], ...more });
  expect(await load()).toEqual({
    status: 200,
    json: { status: 'loaded', id: 'sql', parent: 'tiny' },
  });
  expect((await complete('sql')).text).toBe(texts[1]);
  expect((await complete('tiny:sql')).text).toBe(texts[1]);

  const taken = await load();
  expect(taken.status).toBe(400);
  expect(taken.json).toMatchObject({
    error: { message: expect.stringContaining("'sql'") as string },
  });
  expect((await load({ load_inplace: true, lora_path: paths[0] })).status).toBe(200);
  expect((await complete('sql')).text).toBe(texts[0]);
  // One that cannot be read leaves the one that was.
  const missing = { load_inplace: true, lora_path: join(directory, 'none') };
  expect((await load(missing)).status).toBeGreaterThanOrEqual(400);
  expect((await complete('sql')).text).toBe(texts[0]);

  const unload = await send('/v1/unload_lora_adapter', { lora_name: 'sql' });
  expect(unload).toEqual({ status: 200, json: { status: 'unloaded', id: 'sql' } });
  expect((await complete('sql')).status).toBe(404);
  expect((await send('/v1/unload_lora_adapter', { lora_name: 'sql' })).status).toBe(404);
  expect((await send('/v1/unload_lora_adapter', { lora_name: 'tiny' })).status).toBe(404);
});

test('a name of a model is not taken, nor is another model loaded for', async () => {
  serve({ allowAdapterLoading: true });
  const load = (body: object): ReturnType<typeof send> =>
    send('/v1/load_lora_adapter', { lora_path: paths[1], ...body });
  for (const load_inplace of [false, true]) {
    expect((await load({ lora_name: 'tiny', load_inplace })).status).toBe(400);
  }
  expect((await load({ lora_name: 'x', base_model_name: 'none' })).status).toBe(404);
  expect((await load({ lora_name: 'x', base_model_name: 'legal' })).status).toBe(400);
  expect((await load({ lora_name: '' })).status).toBe(400);
  expect((await load({})).status).toBe(400);
  expect((await complete('tiny')).status).toBe(200);
});

test('two adapters of one name are an error at the start', () => {
  serve();
  const models = [{ names: ['tiny'], model, adapters: [adapter, adapter] }];
  expect(() => createServer(models)).toThrow("there is a model or an adapter 'legal' already");
});
