/** The replicas and the balancer in front of them, and which replica served whom. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { setUp, type Balancer } from '../../test/deploy/balancers';

const command = join(__dirname, '../../dist/cli/main.js');
const model = join(__dirname, '../../models/breeze-Q4_0.gguf');

/** Ports that are free now. */
export async function freePorts<Ports extends readonly number[]>(count: number): Promise<Ports> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map(closed));
  return ports as readonly number[] as Ports;
}

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

export async function until(what: string, met: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await met())) {
    if (Date.now() > end) throw new Error(`waited a minute for ${what}`);
    await delay(50);
  }
}

/** The status of a GET, undefined where nobody answers. */
function status(port: number, path: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', () => {
      resolve(undefined);
    });
  });
}

/** A process that writes to a file of the folder. */
function start(name: string, folder: string, [program, ...args]: readonly string[]): ChildProcess {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = spawn(program!, args, { stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

async function ended(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? child.signalCode;
}

export class Replica {
  private child: ChildProcess | undefined;

  constructor(
    readonly name: string,
    readonly port: number,
    private readonly folder: string,
    private readonly keys: string,
  ) {}

  async start(): Promise<void> {
    const args = ['--port', String(this.port), '--served-model-name', 'breeze'];
    this.child = start(this.name, this.folder, [
      ...[process.execPath, command, 'serve', model, ...args],
      ...['--api-key-file', this.keys, '--max-queued-requests', '256'],
    ]);
    const { child } = this;
    await until(`${this.name} to be ready (${this.name}.log)`, () => {
      if (child.exitCode !== null) throw new Error(readFileSync(this.log, 'utf8'));
      return status(this.port, '/ready').then((code) => code === 200);
    });
  }

  /** Sends the signal and waits for the end: its exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    if (!this.child) return null;
    this.child.kill(signal);
    return ended(this.child);
  }

  private get log(): string {
    return join(this.folder, `${this.name}.log`);
  }
}

export interface Served {
  readonly session: string;
  /** The replica whose answer the client got. */
  readonly replica: string;
}

export class Front {
  private child: ChildProcess | undefined;
  private readonly names: ReadonlyMap<string, string>;

  constructor(
    private readonly balancer: Balancer,
    private readonly folder: string,
    private readonly replicas: readonly Replica[],
    readonly port: number,
    private readonly plain: number,
  ) {
    this.names = new Map(replicas.map(({ name, port: own }) => [`127.0.0.1:${own}`, name]));
  }

  async start(): Promise<void> {
    const [first, second, third] = this.replicas.map(({ port }) => port);
    const { run } = setUp(this.balancer, {
      folder: this.folder,
      replicas: [first!, second!, third!],
      tls: this.port,
      plain: this.plain,
    });
    this.child = start(this.balancer, this.folder, run);
    // It sends those without TLS to where TLS is.
    await until(this.balancer, () => status(this.plain, '/').then((code) => code === 308));
  }

  async stop(): Promise<void> {
    if (!this.child) return;
    this.child.kill('SIGTERM');
    await ended(this.child);
  }

  /** Who was served by whom so far, as the balancer logged it. */
  served(): readonly Served[] {
    const haproxy = this.balancer === 'haproxy';
    const path = join(this.folder, haproxy ? 'haproxy.log' : 'access.log');
    if (!existsSync(path)) return [];
    const line = haproxy
      ? / sessions\/(\S+) \S+ 200 .* \{(.+?)\} "POST/
      : /"POST \S+ \S+" 200 (?:\S+, )*(\S+) \S+ session=(\S+)/;
    return readFileSync(path, 'utf8')
      .split('\n')
      .map((text) => line.exec(text))
      .filter((match) => match !== null)
      .map(([, place, session]) => ({
        session: session!,
        replica: this.names.get(place!) ?? place!,
      }));
  }
}
