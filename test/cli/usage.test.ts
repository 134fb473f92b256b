/** What the command line says when it is used wrongly, and how to use it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { run } from './command';

const commands = [
  ...['generate', 'inspect', 'tokenize', 'perplexity', 'bench', 'doctor'],
  ...['pull', 'list', 'remove', 'where', 'train', 'completion'],
];

describe('help', () => {
  test('lists every command and ends well', async () => {
    const { status, stdout } = await run('--help');
    expect(status).toBe(0);
    for (const command of commands) expect(stdout).toContain(`  ${command} `);
  });

  test('is what the command alone shows', async () => {
    const alone = await run();
    expect(alone).toEqual(await run('--help'));
    expect(alone.status).toBe(0);
  });

  test.each(commands)('of %s has examples', async (command) => {
    const { status, stdout, stderr } = await run(command, '--help');
    expect(status).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toContain(`$ tramontane ${command}`);
  });

  test('is at most 80 columns wide, and alone a line for each command', async () => {
    const { stdout: alone } = await run();
    const names = [...alone.matchAll(/^ {2}([a-z-]+) {2,}\S.*$/gm)].map(([, name]) => name!);
    expect(names).toEqual(expect.arrayContaining([...commands, 'merge', 'serve', 'bench-serve']));
    expect(alone).not.toMatch(/^ {5,}\S/m); // A text that goes on in the next line.
    const screens = await Promise.all(names.map((name) => run(name, '--help')));
    for (const screen of [alone, ...screens.map(({ stdout }) => stdout)]) {
      expect(screen.split('\n').filter((line) => line.length > 80)).toEqual([]);
    }
  });

  test('the version is the package’s', async () => {
    const { stdout } = await run('--version');
    const manifest = readFileSync(join(__dirname, '../../package.json'), 'utf8');
    expect(stdout.trim()).toBe((JSON.parse(manifest) as { version: string }).version);
  });
});

describe('wrong usage is one line and exit code 2', () => {
  test.each([
    ['an unknown command', ['sing'], /unknown command 'sing'/],
    ['an unknown option', ['generate', '--warmth', '3'], /unknown option '--warmth'/],
    ['a word where a number belongs', ['generate', '--top-k', 'many'], /--top-k.*number/],
    ['a fraction where a whole number belongs', ['generate', '-n', '1.5'], /--max-tokens.*whole/],
    ['no number at all', ['generate', '--seed', ''], /--seed.*number/],
    ['a window that is none', ['generate', '--sliding-window', 'on'], /--sliding-window/],
    ['a value out of range', ['generate', '--top-p', '7'], /^tramontane: --top-p must be/],
    ['an option of one word out of range', ['generate', '-t', '-1'], /: --temperature must be/],
    ['an option of the model out of range', ['generate', '--threads', '-1'], /: --threads must/],
    [
      'an option that needs another one',
      ['generate', '--backend', 'cpu', '--memory-fraction', '0.5'],
      /: --memory-fraction is for a GPU/,
    ],
    ['an unknown escape', ['generate', '--stop', 'a\\d'], /--stop.*\\d is no escape.*\\n/],
    ['an escape without an end', ['generate', '--stop', 'a\\'], /--stop.*is no escape/],
    ['a bias of two values', ['generate', '--logit-bias', '5=1=2'], /ID=NUMBER/],
    ['a hole in a list', ['generate', '--allowed-tokens', '5,,6'], /--allowed-tokens.*number/],
    ['text given twice', ['generate', '-p', 'a', '-f', 'b'], /--prompt and --file/],
    [
      'a prompt longer than the context',
      ['generate', '-p', 'a b', '--context-size', '2'],
      /contex/,
    ],
    ['a choice that does not exist', ['generate', '--compute', 'f64'], /--compute.*int8/],
    ['a bias without a value', ['generate', '--logit-bias', '12'], /ID=NUMBER/],
    ['a model without a prompt', ['generate', EMBEDDED_MODEL], /-p TEXT/],
    ['log-probabilities nobody would see', ['generate', '--logprobs', '2'], /--json/],
    ['nothing to pull', ['pull'], /missing required argument 'model'/],
    ['a source that is none', ['pull', 'hf:Mistral'], /hf:Mistral must be hf:OWNER\/REPO/],
    ['nothing to remove', ['remove'], /the model is missing/],
    ['a file to remove', ['remove', EMBEDDED_MODEL], /was not pulled/],
    ['no text to tokenize', ['tokenize'], /-p TEXT/],
    ['no text to predict', ['perplexity'], /-f FILE/],
    ['ids that are none', ['tokenize', '--decode', '-p', '1 two'], /"two" is no token id/],
    ['an id past the vocabulary', ['tokenize', '--decode', '-p', '1024'], /0 to 1023/],
    ['a bench of nothing', ['bench', '--repeat', '0'], /--repeat/],
    ['a bench of too many streams', ['bench', '--streams', '2,1e9'], /--streams must be at most/],
    ['a bench beyond the context', ['bench', '--prompt', '1e9'], /--context-size/],
    ['a bench of no long prompt', ['bench', '--latency', '--long', '0'], /--long must be/],
    ['latency beyond the context', ['bench', '--latency', '--long', '1e9'], /see --long/],
    [
      'latency beyond the cache',
      ['bench', '--latency', '--long', '600', '--kv-cache-tokens', '512'],
      /--kv-cache-tokens/,
    ],
    ['a context of one token', ['perplexity', '-p', 'x', '--context-size', '1'], /--context-size/],
    ['chunks of one token', ['perplexity', '-f', 'x', '--chunk', '1'], /--chunk/],
  ])('%s', async (_, args, message) => {
    const { status, stdout, stderr } = await run(...args);
    expect(stderr).toMatch(/^tramontane: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});

describe('a failure is one line without a stack and exit code 1', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tramontane-'));
    writeFileSync(join(folder, 'broken.gguf'), 'GGUF but no more');
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test.each([
    ['generate', ['-p', 'x']],
    ['inspect', []],
    ['tokenize', ['-p', 'x']],
    ['bench', []],
  ])('%s of a missing file and of a broken one', async (command, args) => {
    for (const name of ['missing.gguf', 'broken.gguf']) {
      const { status, stdout, stderr } = await run(command, join(folder, name), ...args);
      expect(stderr).toMatch(/^tramontane: [^\n]+\n$/);
      expect(stderr).toContain(name);
      expect(stdout).toBe('');
      expect(status).toBe(1);
    }
  });

  test.each(['generate', 'tokenize', 'perplexity'])(
    '%s of a missing file and no text: the file is said first',
    async (command) => {
      const { status, stderr } = await run(command, join(folder, 'missing.gguf'));
      expect(stderr).toMatch(/^tramontane: [^\n]*missing\.gguf[^\n]*\n$/);
      expect(status).toBe(1);
    },
  );

  test('perplexity of a missing text', async () => {
    const { status, stderr } = await run('perplexity', '-f', join(folder, 'missing.txt'));
    expect(stderr).toMatch(/^tramontane: [^\n]*missing\.txt[^\n]*\n$/);
    expect(status).toBe(1);
  });
});
