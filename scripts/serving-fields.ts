/**
 * serving-fields: the tables of docs/serving.md, from the schemas that requests are checked by.
 * Each field of each route: whether it is honoured, refused or inert, and what it is.
 *   npm run script -- scripts/serving-fields.ts
 * writes them into the document.
 */
import './help';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fields } from '../lib/server/protocol/fields';
import { CHAT_FIELDS } from '../lib/server/routes/chat';
import { COMPLETION_FIELDS } from '../lib/server/routes/completions';
import { FIM_FIELDS } from '../lib/server/routes/fim';
import { MESSAGES_FIELDS } from '../lib/server/routes/messages';
import { RESPONSE_PROMPT_FIELDS, RESPONSES_FIELDS } from '../lib/server/routes/responses';

const DOCUMENT = join(__dirname, '../docs/serving.md');
const START = '<!-- fields: written by scripts/serving-fields.ts -->';
const END = '<!-- end of fields -->';

const ROUTES: Readonly<Record<string, Fields>> = {
  '/v1/completions': COMPLETION_FIELDS,
  '/v1/chat/completions': CHAT_FIELDS,
  '/v1/responses': RESPONSES_FIELDS,
  '/v1/responses/input_tokens': RESPONSE_PROMPT_FIELDS,
  '/v1/messages': MESSAGES_FIELDS,
  '/v1/fim/completions': FIM_FIELDS,
};

function table(route: string, fields: Fields): string {
  const rows = Object.entries(fields).map(
    ([name, { status, note }]) => `| \`${name}\` | ${status} | ${note.replaceAll('|', '\\|')} |`,
  );
  return [`### ${route}`, '', '| field | | |', '| --- | --- | --- |', ...rows].join('\n');
}

/** The document with its tables as the schemas have them now. */
export function withFields(document: string): string {
  const start = document.indexOf(START);
  const end = document.indexOf(END);
  if (start < 0 || end < start) throw new Error(`docs/serving.md lacks ${START} or ${END}`);
  const tables = Object.entries(ROUTES).map(([route, fields]) => table(route, fields));
  return `${document.slice(0, start)}${START}\n\n${tables.join('\n\n')}\n\n${document.slice(end)}`;
}

if (require.main === module) {
  writeFileSync(DOCUMENT, withFields(readFileSync(DOCUMENT, 'utf8')));
}
