/** The chat page as the server serves it, with a model that answers. */
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { Model } from '../../../lib/index';
import type { Server } from '../../../lib/server';
import { buildPage } from '../../../scripts/build-page';
import { createServer } from '../checked-server';
import { describeWithBrowser } from './browser';

const EMBEDDED = join(__dirname, '../../../models/breeze-Q4_0.gguf');

describeWithBrowser('the served chat page', (browser) => {
  let model: Model;
  let server: Server;
  let url: string;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    model = await Model.load(EMBEDDED);
    server = createServer({ breeze: model });
    url = await server.listen({ port: 0 });
    page = await browser().newPage({ viewport: { width: 1280, height: 800 } });
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(url);
  });

  afterAll(async () => {
    await page.close();
    await server.close();
    await model.dispose();
  });

  const box = () => page.getByRole('textbox', { name: 'Message' });
  const answers = () => page.locator('article.assistant');

  async function complete(text: string, body: object = {}): Promise<string> {
    const payload = {
      model: 'breeze',
      messages: [{ role: 'user', content: text }],
      temperature: 0,
      ...body,
    };
    const answer = await server.inject({ method: 'POST', url: '/v1/chat/completions', payload });
    const { choices } = answer.json<{ choices: { message: { content: string } }[] }>();
    return choices[0]!.message.content;
  }

  test('is the one of the sources (npm run build:page)', async () => {
    const { body } = await server.inject({ url: '/' });
    expect(body === (await buildPage())).toBe(true);
  });

  test('no text becomes HTML without the purifier', async () => {
    const failure = page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p>text</p>')");
    await expect(failure).rejects.toThrow('TrustedHTML');
    // The browser says so too.
    expect(complaints.splice(0)).toEqual([expect.stringContaining('TrustedHTML')]);
  });

  test('shows what the API answers, with its tokens', async () => {
    await page.getByLabel('Temperature').fill('0');
    await page.getByLabel('Max tokens').fill('24');
    await box().fill('Once upon a time');
    await box().press('Enter');
    await page.getByText('Ended at the limit of tokens').waitFor();
    const expected = await complete('Once upon a time', { max_tokens: 24 });
    expect(squeezed(await answers().locator('.body').innerText())).toBe(squeezed(expected));
    expect(await answers().locator('.figures').innerText()).toMatch(
      /^24 tokens · [\d.,]+ tokens\/s · first after .* · prompt of \d+ tokens$/,
    );
    expect(await page.locator('#note').innerText()).toMatch(/^\d+ of [\d,]+ tokens of context$/);
  });

  test('shows JSON by a schema', async () => {
    await page.getByRole('button', { name: 'New chat' }).click();
    await page.getByLabel('Max tokens').fill('60');
    await page.getByLabel('Form').selectOption('JSON by a schema');
    await page.getByLabel('JSON schema').fill('{"enum": [{"name": "Lily", "age": 3}]}');
    await box().fill('Who?');
    await box().press('Enter');
    await page.getByRole('button', { name: 'Send' }).waitFor();
    expect(await answers().locator('code').innerText()).toBe('{\n  "name": "Lily",\n  "age": 3\n}');
    await page.getByRole('button', { name: 'Reset the options' }).click();
  });

  test('stops the generation', async () => {
    await page.getByRole('button', { name: 'New chat' }).click();
    // Goes on to the context's end.
    await page.getByLabel('Form').selectOption('JSON by a schema');
    await page
      .getByLabel('JSON schema')
      .fill('{"type": "array", "items": {"type": "integer"}, "minItems": 10000}');
    await box().fill('Count');
    await box().press('Enter');
    await answers().locator('code').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('Stopped.').waitFor();
    await expect(running()).resolves.toBe('0');
    await page.getByRole('button', { name: 'Reset the options' }).click();
  });

  test('shows what the server refuses, with what to do', async () => {
    complaints.length = 0;
    await page.getByRole('button', { name: 'New chat' }).click();
    await box().fill('long '.repeat(20_000));
    await box().press('Enter');
    await page.getByText('The conversation is too long for the model').waitFor();
    expect(complaints.splice(0)).toEqual([expect.stringContaining('status of 400')]);
  });

  test('the browser found nothing that its policy or its types refuse', () => {
    expect(complaints).toEqual([]);
  });

  /** Of the metrics, once the server has seen that its client left. */
  async function running(): Promise<string> {
    for (;;) {
      const { body } = await server.inject({ url: '/metrics' });
      const value = /^tramontane_num_requests_running(?:\{.*\})? (\d+)$/m.exec(body)?.[1];
      if (value !== '1') return value ?? 'no such metric';
    }
  }
});

/** The page draws markdown, which drops spaces; a story has nothing else of it. */
function squeezed(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
