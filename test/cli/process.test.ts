/** How a command ends when it is not left to end by itself. */
import { once } from 'node:events';
import { Progress } from '../../lib/cli/progress';
import { outcome, start, type Outcome } from './command';

// Long enough never to end within a test.
const endless = [
  ...['generate', '-p', 'Once upon a time', '--echo'],
  ...['--ignore-eos', '--context-size', '100000000', '--seed', '1'],
];

describe('Ctrl-C', () => {
  test('ends a generation with what there is, and exit code 130', async () => {
    const child = start(...endless);
    const ended = outcome(child);
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    const { status, stdout, stderr } = await ended;
    expect(status).toBe(130);
    expect(stdout).toMatch(/^Once upon a time.*\n$/s);
    expect(stderr).toBe('');
  });

  test('with --json still gives the JSON object', async () => {
    const { status, stdout } = await interrupted('', ...endless, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ finishReason: 'aborted' });
    expect(status).toBe(130);
  });

  test('ends a bench silently', async () => {
    const sizes = ['--generate', '50000000', '--context-size', '100000000', '--repeat', '1'];
    const { status, stdout, stderr } = await interrupted('', 'bench', ...sizes);
    expect({ status, stdout, stderr }).toEqual({ status: 130, stdout: '', stderr: '' });
  });

  test('ends a perplexity silently', async () => {
    const text = 'Once upon a time there was a dog. '.repeat(30_000);
    const ended = await interrupted(text, 'perplexity', '--chunk', '64', '-f', '-');
    expect(ended).toMatchObject({ status: 130, stdout: '', stderr: '' });
  });
});

test('a reader that leaves early ends the command quietly', async () => {
  const child = start(...endless);
  const ended = outcome(child);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  const { status, stderr } = await ended;
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

test('text arrives while it is made, not at the end', async () => {
  const child = start(...endless, '--max-tokens', '3000');
  let pieces = 0;
  child.stdout.on('data', () => ++pieces);
  await outcome(child);
  expect(pieces).toBeGreaterThan(10);
});

describe('progress', () => {
  function terminal(isTTY: boolean) {
    const written: string[] = [];
    return { isTTY, written, write: (text: string) => written.push(text) };
  }

  test('draws a bar on one line of a terminal and removes it', () => {
    const screen = terminal(true);
    const progress = new Progress(screen);
    progress.update('loading', 0.5);
    progress.update('loading', 0.5);
    progress.clear();
    progress.clear();
    expect(screen.written).toEqual([
      `\r\x1b[Kloading [${'#'.repeat(15)}${'.'.repeat(15)}] 50%`,
      '\r\x1b[K',
    ]);
  });

  test('keeps to the bar when a fraction is out of range', () => {
    const screen = terminal(true);
    new Progress(screen).update('loading', 1.5);
    expect(screen.written[0]).toMatch(/\[#{30}\] 100%$/);
  });

  test('writes nothing elsewhere', () => {
    const file = terminal(false);
    const progress = new Progress(file);
    progress.update('loading', 0.5);
    progress.clear();
    expect(file.written).toEqual([]);
  });
});

/**
 * Interrupts a command that shows nothing while it works. One that was interrupted before it was
 * at work (it dies of the signal, or says nothing) is started again and given twice the time.
 */
async function interrupted(input: string, ...args: readonly string[]): Promise<Outcome> {
  for (let milliseconds = 1000; ; milliseconds *= 2) {
    const child = start(...args);
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const ended = outcome(child);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    child.kill('SIGINT');
    const result = await ended;
    const tooEarly = result.signal !== null || (args.includes('--json') && result.stdout === '');
    if (!tooEarly || milliseconds > 10_000) return result;
  }
}
