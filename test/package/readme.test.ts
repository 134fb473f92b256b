/** The README's examples run as they stand, on the embedded model. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EMBEDDED_MODEL } from '../../lib/cli/session';

const root = join(__dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

const examples = [...readme.matchAll(/^```js\n(.*?)^```$/gms)]
  .map(([, code]) => code!)
  .filter((code) => !code.includes('createServer')); // http-example.test.ts runs that.

test('there are examples', () => {
  expect(examples.length).toBeGreaterThan(4);
});

test.each(examples.map((code) => [code.split('\n').find((line) => line.includes('(')), code]))(
  '%s',
  (_, code) => {
    // What is said of a 7B model holds for any; a tour's later stops use the model of the first.
    const program = code
      .replace(
        /'(mistral-7b-v0\.1\.Q4_K_M\.gguf|Mistral-7B-Instruct-v0\.3\.Q4_K_M\.gguf|mistral-7b\/|tokenizer\.model)'/g,
        'path',
      )
      .replace(/^import .*$/gm, '');
    const script = `
      import { inspect, loadTokenizer, Model } from 'tramontane';
      const path = ${JSON.stringify(EMBEDDED_MODEL)};
      const messages = [{ role: 'user', content: 'Hi' }]; // Of an earlier stop.
      const weather = () => ({ sky: 'clear' });
      const outer = await Model.load(path);
      async function example(model) { ${/const model\b/.test(program) ? '{' : ''} ${program} }
      ${/const model\b/.test(program) ? '}' : ''}
      await example(outer);
      await outer.dispose();`;
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: root });
  },
);
