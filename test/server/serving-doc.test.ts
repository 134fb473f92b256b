import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withFields } from '../../scripts/serving-fields';

/** Tables of markdown may be as wide as they like. */
const narrow = (markdown: string): string =>
  markdown
    .replace(/ {2,}/g, ' ')
    .replace(/-{3,}/g, '---')
    .replace(/\n{2,}/g, '\n');

test('the tables of fields in docs/serving.md are those that requests are checked by', () => {
  const document = readFileSync(join(__dirname, '../../docs/serving.md'), 'utf8');
  // Else: npm run script -- scripts/serving-fields.ts && npx prettier --write docs/serving.md
  expect(narrow(withFields(document))).toBe(narrow(document));
});
