/**
 * The samples of README and of the guides run as they stand, in their order. A sample that needs what
 * is not here says so in its first line (`// Needs another model.`): its types are checked, or its
 * syntax.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkTypes, isInstalled, languagesOf, packagesOf, Reader, samplesOf } from './samples';

const root = join(__dirname, '../..');

const documents = [
  'README.md',
  ...readdirSync(join(root, 'docs/guides')).map((name) => `docs/guides/${name}`),
].map((name) => {
  const text = readFileSync(join(root, name), 'utf8');
  return { name, text, samples: samplesOf(text) };
});

describe.each(documents)('$name', ({ samples, text }) => {
  let reader: Reader;
  beforeAll(async () => {
    reader = await Reader.start();
  });
  afterAll(() => reader.stop());

  for (const sample of samples) {
    const { code, line, language, needs } = sample;
    const absent = packagesOf(sample).filter((name) => !isInstalled(name));
    if (needs === undefined && absent.length > 0) {
      test.skip(`line ${line}: ${absent.join()} is not installed (npm run install:clients)`, () => {});
    } else if (needs === undefined) {
      test(`line ${line} runs`, async () => {
        const output = await reader.run(sample);
        if (/console\.log|stdout\.write/.test(code)) expect(output).not.toBe('');
      });
    } else if (language === 'sh') {
      test(`line ${line} is bash`, () => {
        execFileSync('bash', ['-n', '-c', code]);
      });
    }
  }

  test('blocks of code are samples, or of another language', () => {
    const other = languagesOf(text).filter((language) => !/^(js|ts|sh)$/.test(language));
    expect(other.filter((language) => !/^(json|dockerfile|yaml)$/.test(language))).toEqual([]);
    expect(samples.length + other.length).toBe(languagesOf(text).length);
  });
});

test('types', () => {
  const checked = documents.flatMap(({ name, samples }) =>
    samples
      .filter(
        ({ language, needs }) => language === 'ts' || (language === 'js' && needs !== undefined),
      )
      .filter((sample) => packagesOf(sample).every(isInstalled))
      .map((sample) => [`${name.replace(/\W/g, '-')}-line-${sample.line}`, sample] as const),
  );
  expect(checked.length).toBeGreaterThan(5);
  expect(checkTypes(Object.fromEntries(checked))).toBe('');
});
