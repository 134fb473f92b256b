import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Order, Setup } from './server';

/** A server in a process of its own, which does as it is told. */
export class ServerProcess {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(setup: Setup): Promise<ServerProcess> {
    const child = fork(join(__dirname, 'server.ts'), {
      execArgv: ['--expose-gc', '-r', join(__dirname, '../typescript.js')],
    });
    child.send(setup);
    const [port] = (await once(child, 'message')) as [number];
    child.once('exit', (code, signal) => {
      if (child.connected || code !== 0) {
        console.error(`the server ended: ${String(code ?? signal)}`);
        process.exit(1);
      }
    });
    return new ServerProcess(child, port);
  }

  async ask<Answer>(order: Order): Promise<Answer> {
    this.#child.send(order);
    const [answer] = (await once(this.#child, 'message')) as [Answer];
    return answer;
  }

  stop(): void {
    this.#child.removeAllListeners('exit');
    this.#child.disconnect();
  }
}
