/** `chat` through pipes, `moderate`, and the flags that hold a text to a form. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture } from '../reference';
import { run, runWith, start } from './command';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tramontane-chat-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const few = ['-n', '12', '--seed', '1'];
const ask = 'Tell me a story about a dog.';

describe('chat', () => {
  test('answers line by line, and says what the embedded model is', async () => {
    const { status, stdout, stderr } = await runWith(`${ask}\n${ask}\n`, 'chat', ...few);
    expect(status).toBe(0);
    expect(stdout.split('\n').filter((line) => line !== '').length).toBeGreaterThanOrEqual(2);
    expect(stderr).toMatch(/^tramontane: the embedded model .* Mistral-7B-Instruct-v0\.3[^\n]*\n$/);
  });

  test('/save writes the conversation, /load goes on with it', async () => {
    const file = join(directory, 'saved.json');
    const first = await runWith(`${ask}\n/save ${file}\n`, 'chat', '--system', 'Be kind.', ...few);
    expect(first.status).toBe(0);
    const saved = JSON.parse(readFileSync(file, 'utf8')) as { role: string; content: string }[];
    expect(saved.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
    expect(saved[1]!.content).toBe(ask);
    expect(first.stdout.trim()).toBe(saved[2]!.content.trim());

    const again = await runWith(`/load ${file}\nMore\n/save ${file}\n`, 'chat', ...few);
    expect(again.status).toBe(0);
    const longer = JSON.parse(readFileSync(file, 'utf8')) as { role: string; content: string }[];
    expect(longer.slice(0, 3)).toEqual(saved);
    expect(longer[3]).toEqual({ role: 'user', content: 'More' });
  });

  test('lines go on behind a backslash and between """; /clear begins anew', async () => {
    const file = join(directory, 'lines.json');
    const input = `x\n/clear\none \\\ntwo\n"""\nthree\n\nfour\n"""\n/save ${file}\n/exit\nnot read\n`;
    expect((await runWith(input, 'chat', ...few)).status).toBe(0);
    const saved = JSON.parse(readFileSync(file, 'utf8')) as { role: string; content: string }[];
    const said = saved.filter(({ role }) => role === 'user').map(({ content }) => content);
    expect(said).toEqual(['one \ntwo', 'three\n\nfour']);
  });

  test('a conversation that outgrows the context loses its oldest turns, and says so', async () => {
    const input = `${'word '.repeat(12)}\n`.repeat(3);
    const { status, stderr } = await runWith(input, 'chat', '--context-size', '160', '-n', '4');
    expect(status).toBe(0);
    expect(stderr).toMatch(/outgrew the context of 160 tokens; its \d+ oldest messages/);
  });

  test('Ctrl-C ends an answer and not the session', async () => {
    const child = start(
      'chat',
      fixture('gguf/full-Q4_0.gguf'),
      '--chat-template',
      'mistral-v3',
      '-t',
      '5',
      '--ignore-eos',
    );
    child.stdin.write('Hi\n');
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGINT');
    child.stdin.end('/clear\n');
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
  });

  test.each([
    [['chat', fixture('gguf/swa-Q4_0.gguf')], 2, /no chat format/],
    [['chat', '--chat-template', 'nonsense'], 2, /mistral-v1/],
    [['chat', join('no', 'such.gguf')], 1, /no such file/i],
  ])('%j fails in one line', async (args, status, message) => {
    const outcome = await runWith('x\n', ...args);
    expect(outcome.status).toBe(status);
    expect(outcome.stderr.trim().split('\n').at(-1)).toMatch(message);
  });
});

describe('generate', () => {
  const hot = ['-t', '9', '-n', '300', '--seed', '2'];

  test('--json-schema, --regex, --choice and --grammar hold the text', async () => {
    const schema = join(directory, 'schema.json');
    writeFileSync(
      schema,
      '{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}',
    );
    const grammar = join(directory, 'g.gbnf');
    writeFileSync(grammar, 'root ::= "x" | "y"\n');
    const outputs = await Promise.all([
      run('generate', '--json-schema', schema, ...hot),
      run('generate', '--regex', '[0-9]{4}', ...hot),
      run('generate', '--choice', 'yes', '--choice', 'no', ...hot),
      run('generate', '--grammar', grammar, ...hot),
    ]);
    const [json, regex, choice, gbnf] = outputs.map(({ stdout }) => stdout);
    expect(JSON.parse(json!)).toEqual({ a: expect.any(Boolean) });
    expect(regex).toMatch(/^[0-9]{4}\n$/);
    expect(choice).toMatch(/^(yes|no)\n$/);
    expect(gbnf).toMatch(/^[xy]\n$/);
  });

  test.each([
    [['--regex', 'a', '--choice', 'b'], /cannot be used with/],
    [['--regex', '(?=a)'], /./],
    [['--json-schema', 'no-such-file'], /cannot read no-such-file/],
  ])('%j fails in one line', async (args, message) => {
    const { status, stderr, stdout } = await run('generate', ...args);
    expect(status).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

test('moderate shows the labels, best first; --json has what the API gives', async () => {
  const [shown, json] = await Promise.all([
    run('moderate', '-p', 'some text'),
    run('moderate', '-p', 'some text', '--json'),
  ]);
  const scores = shown.stdout
    .trim()
    .split('\n')
    .map((line) => Number(line.slice(0, 6)));
  expect(scores).toHaveLength(14);
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
  expect(JSON.parse(json.stdout)).toMatchObject({
    results: [{ category_scores: expect.any(Object) }],
  });
});
