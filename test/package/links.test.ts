/** What the documents point to is there: in the repository, and in the package as published. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { pack } from './packed';

const root = join(__dirname, '../..');

const packed = pack();
afterAll(() => {
  rmSync(packed.folder, { recursive: true, force: true });
});

const documents = packed.files.filter((file) => file.endsWith('.md'));

/** Of the repository alone. */
const guides = readdirSync(join(root, 'docs/guides')).map((name) => `docs/guides/${name}`);

/** A document without its blocks of code. */
function textOf(document: string): string {
  const text = readFileSync(join(root, document), 'utf8');
  return text.replace(/^( *)```.*?^\1```$/gms, '');
}

/** What a document links to: files from the root, and headings in them. */
function linksAndHeadings(document: string): { target: string; heading: string | undefined }[] {
  return [...textOf(document).matchAll(/\]\(([^)#:]*)(?:#([^)]*))?\)/g)].map(
    ([, target, heading]) => ({
      target: target === '' ? document : normalize(join(dirname(document), target!)),
      heading,
    }),
  );
}

function links(document: string): string[] {
  return linksAndHeadings(document).map(({ target }) => target);
}

/** The headings of a document as links write them. */
function headings(document: string): string[] {
  return [...textOf(document).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

test('the package has its documents', () => {
  expect(documents).toEqual(
    expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/cuda.md']),
  );
  expect(documents.flatMap(links).length).toBeGreaterThan(5);
});

test.each(documents)('%s links to files of the package', (document) => {
  const absent = links(document).filter((target) => !packed.files.includes(target));
  expect(absent.filter((target) => !guides.includes(target))).toEqual([]);
});

test.each(guides)('%s links to files of the repository', (document) => {
  expect(links(document).filter((target) => !existsSync(join(root, target)))).toEqual([]);
});

test.each([...documents, ...guides])('%s links to headings that are there', (document) => {
  const named = linksAndHeadings(document).filter(({ heading }) => heading !== undefined);
  expect(named.filter(({ target, heading }) => !headings(target).includes(heading!))).toEqual([]);
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
