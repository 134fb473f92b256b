/**
 * The chat page as one file: lib/server/page's template with its style and its script inline, so
 * that the server's content security policy can name both by their hashes.
 *   npm run script scripts/build-page.ts
 * writes it beside the sources, for what runs lib where it lies, and into dist.
 */
import './help';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(__dirname, '..');
const source = join(root, 'lib/server/page');
/** Packages whose licence asks for its text to go with copies; the others say it in a comment. */
const WITH_LICENCE = ['marked', 'eventsource-parser'];

async function bundled(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(source, name)],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    // light-dark() and the Clipboard API came later than anything esbuild would have to rewrite.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    legalComments: 'inline',
    tsconfig: join(source, 'tsconfig.json'),
  });
  return outputFiles[0]!.text.trim();
}

function licence(name: string): string {
  const folder = join(root, 'node_modules', name);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const text = readFileSync(join(folder, 'LICENSE'), 'utf8');
  return `<!--\n${name} ${version}\n\n${text.trim().replaceAll('--', '- -')}\n-->`;
}

export async function buildPage(): Promise<string> {
  const template = readFileSync(join(source, 'template.html'), 'utf8');
  const [style, script] = await Promise.all([bundled('style.css'), bundled('main.ts')]);
  // In a script, `<!--` would begin a comment in which </script> need not be the end.
  const safe = script.replaceAll('<!--', '\\x3C!--');
  if (/<\/(?:script|style)/i.test(safe + style))
    throw new Error('A tag would end within its text.');
  return template
    .replace(/\n\s+/g, '\n')
    .replace('</body>', () => [...WITH_LICENCE.map(licence), '</body>'].join('\n'))
    .replace('/* style.css */', () => style)
    .replace('/* main.ts */', () => safe);
}

async function main(): Promise<void> {
  const page = await buildPage();
  for (const folder of [source, join(root, 'dist/server/page')]) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'index.html'), page);
  }
}

if (require.main === module) void main();
