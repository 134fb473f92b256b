/** Chromium for the tests of the page: the one named by TRAMONTANE_TEST_CHROMIUM, else of the PATH. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function executable(): string | undefined {
  const named = process.env['TRAMONTANE_TEST_CHROMIUM'];
  if (named !== undefined) return named;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .find((path) => existsSync(path));
}

/** A `describe` whose tests need Chromium; without it one skipped test stands for all of them. */
export function describeWithBrowser(name: string, body: (browser: () => Browser) => void): void {
  const path = executable();
  if (path === undefined) {
    process.stderr.write(`skipped: "${name}": no Chromium (apt-get install chromium)\n`);
    describe.skip(name, () => {
      test('needs Chromium: apt-get install chromium', () => undefined);
    });
    return;
  }
  describe(name, () => {
    let browser: Browser | undefined;
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: path });
    });
    afterAll(() => browser?.close());
    body(() => browser!);
  });
}
