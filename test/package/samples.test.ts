/** The samples of README, of docs and of the guides run as they stand, in their order. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkTypes,
  isInstalled,
  languagesOf,
  packagesOf,
  Reader,
  samplesOf,
  type Sample,
} from './samples';

const root = join(__dirname, '../..');

/** Samples that need what is not here, by their first words: their syntax is checked, or their types. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'docker build': 'docker; test/deploy has tests of the images',
  'cd deploy/compose': 'docker; test/deploy has tests of the compose files',
  'sudo npm install --prefix': 'systemd and root; test/deploy has tests of the unit',
  'export TRAMONTANE_API_KEYS': 'a cloud; test/deploy reads the file',
  'kubectl create namespace': 'a cluster; test/deploy checks the manifests',
  'kubectl apply -k deploy/llm-d': 'a cluster',
  'helm install smg': 'a cluster',
  'npm install @opentelemetry': 'a collector of traces; test/server has tests with an SDK',
};

const reasonOf = ({ code }: Sample): string | undefined =>
  Object.entries(NOT_RUN).find(([words]) => code.startsWith(words))?.[1];

const markdown = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name}`);

const documents = ['README.md', ...markdown('docs'), ...markdown('docs/guides')].map((name) => {
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
    const { code, line, language } = sample;
    const needs = reasonOf(sample);
    const absent = packagesOf(sample).filter((name) => !isInstalled(name));
    if (needs === undefined && absent.length > 0) {
      test.skip(`line ${line}: ${absent.join()} is not installed (npm run install:clients)`, () => {});
    } else if (needs === undefined) {
      test(`line ${line} runs`, async () => {
        const output = await reader.run(sample);
        if (/console\.log|stdout\.write/.test(code)) expect(output).not.toBe('');
        if (language === 'sh') expect(output).not.toContain('"error":');
      });
    } else if (language === 'sh') {
      test(`line ${line} is bash`, () => {
        execFileSync('bash', ['-n', '-c', code]);
      });
    }
  }

  test('blocks of code are samples, or of another language', () => {
    const other = languagesOf(text).filter((language) => !/^(js|ts|sh)$/.test(language));
    expect(other.filter((language) => !/^(json|dockerfile|yaml|python)$/.test(language))).toEqual(
      [],
    );
    expect(samples.length + other.length).toBe(languagesOf(text).length);
  });
});

test('what is not run is there', () => {
  const samples = documents.flatMap((document) => document.samples);
  for (const words of Object.keys(NOT_RUN)) {
    expect(samples.filter(({ code }) => code.startsWith(words))).toHaveLength(1);
  }
});

test('types', () => {
  const checked = documents.flatMap(({ name, samples }) =>
    samples
      .filter(
        (sample) =>
          sample.language === 'ts' || (sample.language === 'js' && reasonOf(sample) !== undefined),
      )
      .filter((sample) => packagesOf(sample).every(isInstalled))
      .map((sample) => [`${name.replace(/\W/g, '-')}-line-${sample.line}`, sample] as const),
  );
  expect(checked.length).toBeGreaterThan(5);
  expect(checkTypes(Object.fromEntries(checked))).toBe('');
});
