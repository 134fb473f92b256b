/** GET /: the chat page. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TramontaneError } from '../../errors';
import type { Context } from '../context';

const PAGE = join(__dirname, '../page/index.html');

/** What the page may load: itself. Its script and style are known by their hashes. */
export function pagePolicy(html: string): string {
  const hashes = (tag: string) =>
    [...html.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g'))]
      .map(([, text]) => `'sha256-${createHash('sha256').update(text!).digest('base64')}'`)
      .join(' ');
  return [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // What the page writes as HTML went through DOMPurify, whose policy has this name.
    "require-trusted-types-for 'script'",
    'trusted-types dompurify',
  ].join('; ');
}

/** @throws TramontaneError FILE_NOT_READABLE */
function readPage(): string {
  try {
    return readFileSync(PAGE, 'utf8');
  } catch (error) {
    const { message } = error as Error;
    const advice = 'build it (npm run build:page), or serve without it (--no-ui; ui: false)';
    throw new TramontaneError('FILE_NOT_READABLE', `the chat page: ${message}; ${advice}`, {
      cause: error,
    });
  }
}

/** Where keys are wanted, the page comes with 401: it asks for one, which browsers cannot send with an address. */
export function pageRoutes({ app, settings }: Context): void {
  const html = readPage();
  const headers = {
    'content-security-policy': pagePolicy(html),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
  };
  app.get('/', { schema: { hide: true }, config: { asksForKey: true } }, (_, reply) =>
    reply
      .code(settings.apiKeys.length > 0 ? 401 : 200)
      .headers(headers)
      .type('text/html; charset=utf-8')
      .send(html),
  );
}
