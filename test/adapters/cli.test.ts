/** Adapters on the command line. */
import { join } from 'node:path';
import { run } from '../cli/command';
import { fixture } from '../reference';

const MODEL = fixture('gguf/swa-Q4_0.gguf');
const ADAPTER = fixture('adapters/all-r8');
const ARGS = [MODEL, '-p', 'a b', '-n', '12', '-t', '0', '--backend', 'cpu'];

test('generate: --adapter changes the text, --adapter-scale 0 takes nothing of it', async () => {
  const [plain, adapted, none] = await Promise.all([
    run('generate', ...ARGS),
    run('generate', ...ARGS, '--adapter', ADAPTER),
    run('generate', ...ARGS, '--adapter', ADAPTER, '--adapter-scale', '0'),
  ]);
  expect(adapted).toMatchObject({ status: 0, stderr: '' });
  expect(adapted.stdout).not.toBe(plain.stdout);
  expect(none.stdout).toBe(plain.stdout);
});

test('what is wrong with an adapter is said, and how the command is used', async () => {
  const [alone, missing] = await Promise.all([
    run('generate', ...ARGS, '--adapter-scale', '1'),
    run('perplexity', MODEL, '-p', 'a b c', '--adapter', join(ADAPTER, 'none')),
  ]);
  expect(alone).toMatchObject({
    status: 2,
    stderr: 'tramontane: --adapter-scale goes with adapter\n',
  });
  expect(missing.status).toBe(1);
  expect(missing.stderr).toContain('no such file');
});

test.each([
  ['nameless', '--adapter is NAME=PATH, and not nameless'],
  ['other:a=b', 'does not say which of the models it is for: MODEL:NAME=PATH'],
])('serve: --adapter %s is refused', async (argument, message) => {
  const { status, stderr } = await run('serve', `small=${MODEL}`, '--adapter', argument);
  expect(status).toBe(2);
  expect(stderr).toContain(message);
});
