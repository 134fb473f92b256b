/** Runs the command line as a user does, in a process of its own. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { join } from 'node:path';

const root = join(__dirname, '../..');

const running = new Set<ChildProcessWithoutNullStreams>();

// A test that fails leaves nothing behind that computes for ever.
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `tramontane` from its TypeScript, which is never older than the tests. */
export function start(...args: readonly string[]): ChildProcessWithoutNullStreams {
  const options = ['-r', join(root, 'scripts/typescript.js'), join(root, 'lib/cli/main.ts')];
  // The tests' own variables, which are a copy of the process's.
  const child = spawn(process.execPath, [...options, ...args], { env: process.env });
  running.add(child);
  child.on('close', () => running.delete(child));
  return child;
}

/** What a started command printed and how it ended. */
export function outcome(child: ChildProcessWithoutNullStreams): Promise<Outcome> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (data: Buffer) => stdout.push(data));
  child.stderr.on('data', (data: Buffer) => stderr.push(data));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      resolve({
        status,
        signal,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
  });
}

/** Runs `tramontane` with nothing on standard input. */
export function run(...args: readonly string[]): Promise<Outcome> {
  return runWith('', ...args);
}

/** Runs `tramontane` with a text on standard input. */
export function runWith(input: string, ...args: readonly string[]): Promise<Outcome> {
  const child = start(...args);
  child.stdin.on('error', () => undefined); // A command that fails may not read it.
  child.stdin.end(input);
  return outcome(child);
}
