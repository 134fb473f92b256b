/** Where the text of a command comes from. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { outcome, run, runWith, start } from './command';

const text = 'Once upon a time, Zoë';
const commands = [
  ['generate', ['--json', '-t', '0', '-n', '2']],
  ['tokenize', ['--ids']],
  ['perplexity', ['--json']],
] as const;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tramontane-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

/** What a command prints, but for what differs from run to run. */
function stable(stdout: string): string {
  return stdout.replace(/"timings"[^}]*}/, '').replace(/"seed": \d+/, '');
}

describe.each(commands)('%s', (command, options) => {
  test('takes an argument, a file or standard input, which are the same', async () => {
    const { stdout, stderr, status } = await run(command, ...options, '-p', text);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    const others = await Promise.all([
      run(command, ...options, '-f', file(`${command}.txt`, `${text}\r\n`)),
      runWith(`${text}\n`, command, ...options, '-p', '-'),
      runWith(text, command, ...options, '-f', '-'),
      runWith(text, command, ...options),
    ]);
    for (const other of others) expect(stable(other.stdout)).toBe(stable(stdout));
  });

  test('a byte order mark is no part of the text', async () => {
    const marked = await runWith(`\ufeff${text}`, command, ...options);
    const plain = await run(command, ...options, '-p', text);
    expect(stable(marked.stdout)).toBe(stable(plain.stdout));
  });

  test('what is not UTF-8 is refused, with its name', async () => {
    const latin1 = file(`${command}.latin1`, Buffer.from(text, 'latin1'));
    const { stdout, stderr, status } = await run(command, ...options, '-f', latin1);
    expect({ stdout, status }).toEqual({ stdout: '', status: 2 });
    expect(stderr).toMatch(/^tramontane: [^\n]*latin1 is not UTF-8[^\n]*\n$/);

    const child = start(command, ...options);
    child.stdin.end(Buffer.from([0x61, 0xff]));
    expect((await outcome(child)).stderr).toMatch(/^tramontane: standard input is not UTF-8/);
  });
});
