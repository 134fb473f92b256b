/** Colours: on a terminal, and where they are asked for; nowhere else. */
import { hasColours, paint } from '../../lib/cli/style';
import { start, outcome } from './command';

// Node takes CI for a terminal of its own.
const variables = ['CI', 'FORCE_COLOR', 'NO_COLOR', 'TERM', 'COLORTERM'];
const before = variables.map((name) => [name, process.env[name]] as const);
const terminal = { isTTY: true };
const pipe = {};

beforeEach(() => {
  for (const name of variables) Reflect.deleteProperty(process.env, name);
  process.env['TERM'] = 'xterm-256color';
});
afterAll(() => {
  for (const [name, value] of before) {
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
  }
});

test('a terminal has colours, a pipe has none', () => {
  expect(hasColours(terminal)).toBe(true);
  expect(hasColours(pipe)).toBe(false);
  expect(paint('red', 'text', terminal)).toBe('\u001b[31mtext\u001b[39m');
  expect(paint('red', 'text', pipe)).toBe('text');
});

test.each([
  ['NO_COLOR', '1', false, false],
  ['FORCE_COLOR', '1', true, true],
  ['FORCE_COLOR', '0', false, false],
  ['TERM', 'dumb', false, false],
])('%s=%s', (name, value, ofTerminal, ofPipe) => {
  process.env[name] = value;
  expect(hasColours(terminal)).toBe(ofTerminal);
  expect(hasColours(pipe)).toBe(ofPipe);
});

test('what a command pipes has none, but where they are asked for, in help too', async () => {
  for (const args of [['--help'], ['inspect'], ['sing']]) {
    const plain = await outcome(start(...args));
    process.env['FORCE_COLOR'] = '1';
    const coloured = await outcome(start(...args));
    Reflect.deleteProperty(process.env, 'FORCE_COLOR');
    for (const stream of ['stdout', 'stderr'] as const) {
      expect(plain[stream]).not.toContain('\u001b');
      // eslint-disable-next-line no-control-regex
      expect(coloured[stream].replace(/\u001b\[\d+m/g, '')).toBe(plain[stream]);
    }
    expect(coloured.stdout + coloured.stderr).toContain('\u001b[');
  }
});
