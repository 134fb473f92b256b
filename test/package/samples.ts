/**
 * The code in documents, and a folder where it runs as it stands: the names of models in it lead to
 * the embedded one, and the hub is a server of the test's own.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import ts from 'typescript';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { aliases } from '../../lib/hub/aliases';
import { buildAdapter, writeAdapter } from '../adapters/builder';
import { GgufBuilder } from '../files/gguf-builder';
import { HubServer, lfs, type ServedRepository } from '../hub/hub-server';

const root = join(__dirname, '../..');

/** Where the packages that samples import may be: the repository's own, and the clients'. */
const MODULES = [join(root, 'node_modules'), join(root, 'test/clients/node_modules')];

export interface Sample {
  readonly language: 'js' | 'ts' | 'sh';
  readonly code: string;
  /** Its line in the document, from 1. */
  readonly line: number;
}

/** The samples of a document: its fenced blocks of these languages, in lists too. */
export function samplesOf(text: string): Sample[] {
  return [...text.matchAll(/^( *)```(js|ts|sh)\n(.*?)^ *```$/gms)].map(({ index, ...match }) => {
    const code = match[3]!.replace(new RegExp(`^${match[1]!}`, 'gm'), '');
    return {
      language: match[2] as Sample['language'],
      code,
      line: text.slice(0, index).split('\n').length,
    };
  });
}

/** The languages of all fenced blocks of a document. */
export function languagesOf(text: string): string[] {
  return [...text.matchAll(/^ *```([\w-]+)\n.*?^ *```$/gms)].map(([, language]) => language!);
}

/** The packages a sample imports beside this one and Node's. */
export function packagesOf({ language, code }: Sample): string[] {
  if (language === 'sh') return [];
  return [...code.matchAll(/(?:from|import) '((?:@[\w-]+\/)?[\w-]+)(?:\/[\w/-]+)?'/g)]
    .map(([, name]) => name!)
    .filter((name) => name !== 'tramontane');
}

function folderOf(name: string): string | undefined {
  return MODULES.map((modules) => join(modules, name)).find((folder) => existsSync(folder));
}

export function isInstalled(name: string): boolean {
  return folderOf(name) !== undefined;
}

/** What samples may take for there from earlier ones, as a tour has it. */
const TOUR = `
  const messages: Message[];
  const prompt: string;
  const schema: { type: 'object'; properties: { name: { type: 'string' } }; required: ['name'] };
  const tools: ChatTool[];
  const model: Model;
  const text: string;
  const tokens: number[];
  function weather(call: { city: string }): { sky: string };`;

const TYPES = `
import * as tramontane from 'tramontane';
import type { ChatTool, Message, Model } from 'tramontane';
declare global { ${TOUR}
}
export {};`;

/** Values of the same, and all that the package exports: a later stop imports nothing again. */
const PRELUDE = `
import * as tramontane from 'tramontane';
const { default: _, ...exported } = tramontane;
Object.assign(globalThis, exported, {
  messages: [{ role: 'user', content: 'Hi' }],
  prompt: 'Once upon a time',
  schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
  tools: [],
  text: 'Once upon a time, there was a little girl.',
  tokens: [1, 40, 41, 42, 43, 44],
  weather: () => ({ sky: 'clear' }),
  model: await tramontane.Model.load(${JSON.stringify(EMBEDDED_MODEL)}),
});`;

/** Commands with tests of their own, that take from a registry or compile. */
const ELSEWHERE = /^(npm (install|run|start|test)|npx tramontane build|tramontane build)\b.*$/gm;

const SERVES = /^(?:npx )?tramontane serve\b([^\n#]*).*$/m;

/** The names under which documents have a model. */
const MODEL_FILES = [
  'model.gguf',
  'mistral-7b.gguf',
  'mistral-7b.Q4_K_M.gguf',
  'mistral-7b-v0.1.Q4_K_M.gguf',
  'mistral-7b-instruct.gguf',
  'mistral-7b-instruct-v0.3.Q4_K_M.gguf',
  'Mistral-7B-Instruct-v0.3.Q4_K_M.gguf',
];

/** The model that is served to those who ask the hub, in each repository with a short name. */
function repositories(): Record<string, ServedRepository> {
  const sources = [...aliases.map(({ source }) => source), 'hf:OWNER/REPO'];
  const model = lfs(readFileSync(EMBEDDED_MODEL));
  const served = sources.map((source) => {
    const [, repository, name] = /^hf:([^/]+\/([^:]+))/.exec(source)!;
    const files = ['Q4_K_M', 'Q5_K_M'].map((quant) => [`${name!}.${quant}.gguf`, model]);
    return [repository!, { commit: '12'.repeat(20), files: Object.fromEntries(files) as object }];
  });
  return Object.fromEntries(served) as Record<string, ServedRepository>;
}

/** A LoRA of one layer of the embedded model, by PEFT and in GGUF. */
function writeAdapters(folder: string): void {
  const a = [Array<number>(128).fill(0.5)];
  const b = Array<number[]>(128).fill([0.5]);
  const { config } = buildAdapter(1, 1, { modules: [] });
  writeAdapter(join(folder, 'legal'), {
    config: { ...config, target_modules: ['o_proj'], layers_to_transform: [0] },
    pairs: new Map([['model.layers.0.self_attn.o_proj', { a, b }]]),
    others: [],
  });
  new GgufBuilder()
    .set('general.architecture', 'string', 'llama')
    .set('general.type', 'string', 'adapter')
    .set('adapter.type', 'string', 'lora')
    .set('adapter.lora.alpha', 'f32', 1)
    .tensor('blk.0.attn_output.weight.lora_a', 'F32', [128, 1])
    .tensor('blk.0.attn_output.weight.lora_b', 'F32', [1, 128])
    .writeSparse(join(folder, 'sql.gguf'));
}

/** A folder of a reader who follows a document from its top to its end. */
export class Reader {
  private server: ChildProcess | undefined;
  private count = 0;

  private constructor(
    readonly folder: string,
    private readonly hub: HubServer,
    private readonly port: number,
  ) {}

  static async start(): Promise<Reader> {
    const folder = mkdtempSync(join(tmpdir(), 'tramontane-samples-'));
    const reader = new Reader(folder, await HubServer.start(repositories()), await freePort());
    const modules = join(folder, 'node_modules');
    mkdirSync(join(modules, '.bin'), { recursive: true });
    symlinkSync(root, join(modules, 'tramontane'));
    const main = join(root, 'dist/cli/main.js');
    const command = `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`;
    writeFileSync(join(modules, '.bin/tramontane'), command, { mode: 0o755 });
    for (const name of MODEL_FILES) symlinkSync(EMBEDDED_MODEL, join(folder, name));
    writeAdapters(join(folder, 'loras'));
    const person = {
      type: 'object',
      properties: { tame: { type: 'boolean' } },
      required: ['tame'],
    };
    reader.write('person.json', JSON.stringify(person));
    reader.write('prompt.txt', 'Once upon a time');
    reader.write('text.txt', 'Once upon a time, there was a little girl.');
    reader.write('held-out.txt', 'Once upon a time, there was a little boy.');
    const sample = { prompt: 'Tell me a story.', completion: 'Once upon a time.' };
    reader.write('data.jsonl', JSON.stringify(sample));
    reader.write('keys.txt', 'alice:a-key-of-alice\n');
    reader.write('prelude.mjs', PRELUDE);
    return reader;
  }

  async stop(): Promise<void> {
    await this.end();
    await this.hub.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Runs a sample to its end, or, where it serves, until it answers; it then goes on beside others. */
  async run(sample: Sample): Promise<string> {
    const code = sample.code.replace(/\b(3000|8000|8080)\b/g, String(this.port));
    if (sample.language === 'sh') return await this.shell(code);
    for (const name of packagesOf(sample)) link(this.folder, name);
    const javaScript =
      sample.language === 'js'
        ? code
        : ts.transpile(code, { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext });
    const name = `sample-${this.count++}.mjs`;
    this.write(name, javaScript);
    const args = ['--import', './prelude.mjs', name];
    if (/\blisten\(/.test(code)) return await this.serve(process.execPath, args);
    return await this.execute(process.execPath, args);
  }

  private async shell(code: string): Promise<string> {
    const script = code.replace(ELSEWHERE, '');
    const serving = SERVES.exec(script);
    if (serving === null) return await this.execute('bash', ['-euo', 'pipefail', '-c', script]);
    const [before, after] = script.split(serving[0]) as [string, string];
    const printed = await this.shell(before);
    const options = `${serving[1]!} --port ${this.port}`;
    const served = await this.serve('bash', ['-c', `exec tramontane serve ${options}`]);
    return printed + served + (await this.shell(after));
  }

  private async execute(command: string, args: readonly string[]): Promise<string> {
    const running = promisify(execFile)(command, args, this.place());
    running.child.stdin?.end();
    const { stdout, stderr } = await running;
    return stdout + stderr;
  }

  /** Starts a server in the place of the one before, and waits until it answers. */
  private async serve(command: string, args: readonly string[]): Promise<string> {
    await this.end();
    const server = spawn(command, args, { ...this.place(), stdio: ['ignore', 'pipe', 'pipe'] });
    this.server = server;
    let printed = '';
    for (const stream of [server.stdout, server.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (printed += text));
    }
    while (!(await answers(this.port))) {
      if (server.exitCode !== null) throw new Error(`the server has ended: ${printed}`);
      await sleep(50);
    }
    return printed;
  }

  private async end(): Promise<void> {
    if (this.server?.exitCode !== null) return;
    const exited = once(this.server, 'exit');
    this.server.kill('SIGKILL');
    await exited;
  }

  private place() {
    const modules = join(this.folder, 'node_modules');
    const outer = Object.entries(process.env).filter(([name]) => !/^(HF_|TRAMONTANE_)/.test(name));
    const env = {
      ...Object.fromEntries(outer),
      TRAMONTANE_CUDA_PLUGIN: join(this.folder, 'no-plug-in'),
      HF_ENDPOINT: this.hub.endpoint,
      HF_HOME: join(this.folder, 'hub'),
      XDG_CACHE_HOME: join(this.folder, 'cache'),
      PATH: `${join(modules, '.bin')}${delimiter}${process.env['PATH'] ?? ''}`,
    };
    return { cwd: this.folder, env };
  }

  private write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }
}

function link(folder: string, name: string): void {
  const place = join(folder, 'node_modules', name);
  if (existsSync(place)) return;
  mkdirSync(dirname(place), { recursive: true });
  symlinkSync(folderOf(name)!, place);
}

/** What a strict compiler says of samples, by their names; those of JavaScript as if of TypeScript. */
export function checkTypes(samples: Readonly<Record<string, Sample>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-samples-'));
  try {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/tramontane'));
    for (const name of ['@types', 'undici-types', ...Object.values(samples).flatMap(packagesOf)]) {
      link(folder, name);
    }
    const codes = Object.fromEntries(
      Object.entries(samples).map(([name, { code }]) => [name, `${code}\nexport {};\n`]),
    );
    const files = { 'tour.d': TYPES, ...codes };
    for (const [name, text] of Object.entries<string>(files)) {
      writeFileSync(join(folder, `${name}.mts`), text);
    }
    const names = Object.keys(files).map((name) => join(folder, `${name}.mts`));
    const program = ts.createProgram(names, {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.NodeNext,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      types: ['node'],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    });
    return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
      getCanonicalFileName: (name) => name,
      getCurrentDirectory: () => folder,
      getNewLine: () => '\n',
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await promisify(server.close.bind(server))();
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
