/** What the documents point to is there: in the repository, and in the package as published. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { pack } from './packed';

const root = join(__dirname, '../..');

const packed = pack();
afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

const documents = packed.files.filter((file) => file.endsWith('.md'));

/** The files a document links to, from the root. */
function links(document: string): string[] {
  const text = readFileSync(join(root, document), 'utf8');
  return [...text.matchAll(/\]\(([^)#:]+)(#[^)]*)?\)/g)].map(([, target]) =>
    normalize(join(dirname(document), target!)),
  );
}

test('the package has its documents', () => {
  expect(documents).toEqual(
    expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/cuda.md']),
  );
  expect(documents.flatMap(links).length).toBeGreaterThan(5);
});

test.each(documents)('%s links to files of the package', (document) => {
  expect(links(document).filter((target) => !packed.files.includes(target))).toEqual([]);
});

test('documents that errors and comments of the package name are in it', () => {
  const sources = packed.files.filter((file) => /^(dist|cpp)\/.*\.(js|d\.ts|cc|h)$/.test(file));
  const named = sources.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return [...text.matchAll(/(?<![\w/])(docs\/[\w-]+\.md|[A-Z]{4,}\.md)\b/g)].map(
      ([name]) => name,
    );
  });
  expect(named).toContain('docs/cuda.md');
  expect(named.filter((name) => !packed.files.includes(name))).toEqual([]);
});

test('scripts that CONTRIBUTING.md and README.md name exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const document of ['README.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(join(root, document), 'utf8');
    for (const [, name] of text.matchAll(/npm run ([\w:-]+)/g))
      expect(scripts).toHaveProperty([name!]);
    for (const [path] of text.matchAll(/scripts\/[\w.-]+\w/g)) {
      expect(existsSync(join(root, path))).toBe(true);
    }
  }
});
