/** The chat page in Chromium, before a server that says what each test wants. */
import { setTimeout as sleep } from 'node:timers/promises';
import { source as axe } from 'axe-core';
import type { BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { buildPage } from '../../../scripts/build-page';
import { describeWithBrowser } from './browser';
import { answering, piece, refusing, send, Stub } from './stub';

describeWithBrowser('the chat page', (browser) => {
  let html: string;
  let stub: Stub;
  let url: string;
  let context: BrowserContext | undefined;
  let isSpecial = false;
  let page: Page;
  /** What the browser complained of: faults of the script, and what the policy refused. */
  let complaints: string[];

  beforeAll(async () => {
    html = await buildPage();
  });

  // Each test has a server at a port of its own: for the browser a place where it never was.
  beforeEach(async () => {
    stub = new Stub(html);
    url = await stub.listen();
    complaints = [];
    if (context === undefined) await open();
    else await visit();
  });

  afterEach(async () => {
    await stub.close();
    if (isSpecial) {
      await context?.close();
      context = undefined;
      isSpecial = false;
    }
    expect(complaints).toEqual([]);
  });

  afterAll(() => context?.close());

  async function visit(): Promise<void> {
    await page.goto(url);
    await page.locator('#model:enabled').waitFor();
  }

  async function open(options: BrowserContextOptions = {}): Promise<void> {
    context = await browser().newContext({ viewport: { width: 1280, height: 800 }, ...options });
    page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      const status = message.text().includes('the server responded with a status');
      const network = message.text().includes('net::ERR');
      if (message.type() === 'error' && !status && !network) complaints.push(message.text());
    });
    await visit();
  }

  /** For one test, another window than the other tests have. */
  async function reopen(options: BrowserContextOptions): Promise<void> {
    await context?.close();
    isSpecial = true;
    await open(options);
  }

  const box = () => page.getByRole('textbox', { name: 'Message' });
  const sending = () => page.getByRole('button', { name: 'Send' });
  const stopping = () => page.getByRole('button', { name: 'Stop' });
  const answers = () => page.locator('article.assistant .body');
  const outcome = () => page.locator('article.assistant .outcome').last();
  const notice = () => page.getByRole('alert');

  async function ask(text: string): Promise<void> {
    await box().fill(text);
    await box().press('Enter');
  }

  async function askAndWait(text: string): Promise<string> {
    await ask(text);
    await sending().waitFor();
    return answers().last().innerText();
  }

  describe('is one small file', () => {
    test('below 150 KB, with one style and one script', () => {
      expect(Buffer.byteLength(html)).toBeLessThan(150_000);
      expect(html.match(/<script/g)).toHaveLength(1);
      expect(html.match(/<style/g)).toHaveLength(1);
    });

    test('and asks nothing of the network but its server', async () => {
      const asked: string[] = [];
      page.on('request', (request) => asked.push(request.url()));
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      expect(await askAndWait('Hello')).toBe('Good day.');
      const addresses = asked.filter((address) => !address.startsWith('data:'));
      expect(addresses).toEqual(['', 'v1/models', 'v1/chat/completions'].map((path) => url + path));
    });
  });

  describe('a chat', () => {
    test('shows what is said on both sides, and sends all of it with the next message', async () => {
      expect(await askAndWait('Hello')).toBe('Good day.');
      stub.reply = answering(['Well.']);
      expect(await askAndWait('How are you?')).toBe('Well.');
      expect(stub.asked.map(({ body }) => body.messages)).toEqual([
        [{ role: 'user', content: 'Hello' }],
        [
          { role: 'user', content: 'Hello' },
          { role: 'assistant', content: 'Good day.' },
          { role: 'user', content: 'How are you?' },
        ],
      ]);
      expect(stub.asked[0]!.body).toMatchObject({
        model: 'mistral-7b-instruct',
        stream: true,
        stream_options: { include_usage: true },
      });
      expect(await page.locator('article.user .body').allInnerTexts()).toEqual([
        'Hello',
        'How are you?',
      ]);
    });

    test('shows an answer while it comes, then its tokens, their rate and the context', async () => {
      stub.reply = answering(['One', ' two'], { open: true });
      await ask('Count');
      await answers().getByText('One two').waitFor();
      const article = page.locator('article.assistant');
      expect(await article.getAttribute('aria-busy')).toBe('true');
      expect(await article.locator('.figures').innerText()).toContain('about 2 tokens');
      await stopping().click();
      stub.reply = answering(['One', ' two', ' three'], { everyMs: 20 });
      await askAndWait('Again');
      expect(await article.last().locator('.figures').innerText()).toMatch(
        /^3 tokens · [\d.]+ tokens\/s · first after \d\.\d\d s · prompt of 21 tokens$/,
      );
      expect(await page.locator('#note').innerText()).toBe('24 of 32,768 tokens of context');
    });

    test('goes to the model that is chosen, after a reload too', async () => {
      await page.getByLabel('Model').selectOption('small');
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      await askAndWait('Hello');
      expect(stub.asked[0]!.body['model']).toBe('small');
    });

    test('says where the limit of tokens ended an answer', async () => {
      stub.reply = answering(['To be'], { finish: 'length' });
      await askAndWait('Go on');
      expect(await outcome().innerText()).toContain('limit of tokens');
    });

    test('answers a question again, and lets it be edited', async () => {
      await askAndWait('Hello');
      stub.reply = answering(['Good evening.']);
      await page.getByRole('button', { name: 'Answer again' }).click();
      await answers().getByText('Good evening.').waitFor();
      await sending().waitFor();
      expect(await answers().count()).toBe(1);
      expect(stub.asked[1]!.body.messages).toEqual([{ role: 'user', content: 'Hello' }]);
      await page.getByRole('button', { name: 'Edit' }).click();
      expect(await box().inputValue()).toBe('Hello');
      expect(await page.locator('article').count()).toBe(0);
    });

    test('takes new lines with Shift+Enter, and sends nothing that is empty', async () => {
      await box().press('Enter');
      await box().pressSequentially('  ');
      await box().press('Enter');
      await box().fill('One');
      await box().press('Shift+Enter');
      await box().pressSequentially('two');
      await box().press('Enter');
      await sending().waitFor();
      expect(stub.asked.map(({ body }) => body.messages)).toEqual([
        [{ role: 'user', content: 'One\ntwo' }],
      ]);
    });

    test('scrolls with the answer until the reader scrolls away', async () => {
      const end = 'document.documentElement.scrollHeight - scrollY - innerHeight';
      const lines = Array.from({ length: 60 }, (_, i) => `${i}\n\n`);
      stub.reply = answering(lines, { open: true });
      await ask('Count');
      await answers().getByText('59').waitFor();
      await page.waitForFunction(`${end} < 2`);
      await page.mouse.move(400, 300);
      await page.mouse.wheel(0, -800);
      await page.getByRole('button', { name: 'To the latest message' }).click();
      await page.waitForFunction(`${end} < 2`);
    });
  });

  describe('stop', () => {
    test.each(['the button', 'Escape'])(
      '%s ends the stream at the server, and keeps what came',
      async (way) => {
        stub.reply = answering(['Once upon', ' a time'], { open: true });
        await ask('A story');
        await answers().getByText('Once upon a time').waitFor();
        if (way === 'Escape') await page.keyboard.press('Escape');
        else await stopping().click();
        await sending().waitFor();
        await until(() => stub.aborted === 1);
        expect(await answers().innerText()).toBe('Once upon a time');
        expect(await outcome().innerText()).toBe('Stopped.');
        expect(await notice().innerText()).toBe('');
      },
    );

    test('before the first token says so, and the question can be asked again', async () => {
      stub.reply = () => undefined;
      await ask('Hello');
      await stopping().click();
      await notice().getByText('Stopped before the answer began').waitFor();
      expect(await answers().count()).toBe(0);
      stub.reply = answering(['Good day.']);
      await notice().getByRole('button', { name: 'Try again' }).click();
      await answers().getByText('Good day.').waitFor();
    });
  });

  describe('an error', () => {
    const long = { message: 'The prompt has 40000 tokens.', code: 'context_length_exceeded' };
    test.each([
      [400, { message: 'seed: too large', param: 'seed' }, {}, 'Change “Seed” under Options'],
      [400, long, {}, 'Start a new chat'],
      [404, { message: 'no model x' }, {}, 'Choose another model'],
      [429, { message: 'The queue is full.' }, { 'retry-after': '12' }, 'Try again in 12 seconds.'],
      [500, { message: 'It broke.' }, {}, 'its log says what happened'],
      [503, { message: 'Stopping.' }, {}, 'Try again in a while.'],
    ])('%i is shown with what to do: %j', async (status, error, headers, advice) => {
      stub.reply = refusing(status, error, headers);
      await ask('Hello');
      await notice().getByText(advice).waitFor();
      expect(await notice().innerText()).toContain(error.message);
      expect(await page.locator('article').count()).toBe(1);
      stub.reply = answering(['Good day.']);
      await notice().getByRole('button', { name: 'Try again' }).click();
      await answers().getByText('Good day.').waitFor();
      expect(await notice().innerText()).toBe('');
    });

    test('without a body of its own is shown by its status', async () => {
      stub.reply = (response) => void response.writeHead(502).end('<h1>Bad gateway</h1>');
      await ask('Hello');
      await notice().getByText('The server answered with status 502.').waitFor();
    });

    test('in the middle of a stream keeps what came', async () => {
      stub.reply = (response) => {
        send(response, piece('Once upon'));
        send(response, { error: { message: 'The model was unloaded.', type: 'server_error' } });
        response.end();
      };
      await ask('A story');
      await notice().getByText('The model was unloaded.').waitFor();
      expect(await answers().innerText()).toBe('Once upon');
      expect(await outcome().innerText()).toBe('Cut off.');
    });

    test('a connection that breaks is no complete answer', async () => {
      stub.reply = async (response) => {
        send(response, piece('Once upon'));
        await sleep(100);
        response.destroy();
      };
      await ask('A story');
      await notice().getByText('The server cannot be reached').waitFor();
      expect(await outcome().innerText()).toBe('Cut off.');
    });

    test('nor is one that ends without a finish reason', async () => {
      stub.reply = (response) => {
        send(response, piece('Once upon'));
        response.end();
      };
      await ask('A story');
      await notice().getByText('The connection ended before the answer.').waitFor();
    });

    test('no server at all, at the list of models too', async () => {
      await stub.close();
      await ask('Hello');
      await notice().getByText('The server cannot be reached').waitFor();
    });

    test('a server without models says how to go on', async () => {
      stub.models = [];
      await page.reload();
      await notice().getByText('The server has no models').waitFor();
    });
  });

  describe('a key', () => {
    beforeEach(async () => {
      stub.key = 'sesame';
      await page.reload();
    });

    const key = () => page.getByLabel('Key', { exact: true });
    const models = () => page.locator('#model:enabled');

    test('is asked for on 401, again where it is wrong, and kept for the tab alone', async () => {
      await key().fill('wrong');
      await key().press('Enter');
      await page.getByText('The server does not know this key.').waitFor();
      await key().fill('sesame');
      await key().press('Enter');
      await models().waitFor();
      expect(await askAndWait('Hello')).toBe('Good day.');
      expect(stub.asked[0]!.key).toBe('Bearer sesame');
      await page.reload();
      await models().waitFor();
      expect(await page.evaluate('JSON.stringify(localStorage)')).not.toContain('sesame');
      const tab = await context!.newPage();
      await tab.goto(url);
      await tab.getByText('This server asks for a key').waitFor();
      await tab.close();
    });

    test('can be declined, and given later', async () => {
      await page.getByRole('button', { name: 'Cancel' }).click();
      await notice().getByText('A key is needed').waitFor();
      await notice().getByRole('button', { name: 'Try again' }).click();
      await key().fill('sesame');
      await page.getByRole('button', { name: 'Continue' }).click();
      await models().waitFor();
    });

    test('is not asked for, nor sent, where the server wants none', async () => {
      stub.key = undefined;
      await page.reload();
      await models().waitFor();
      await askAndWait('Hello');
      expect(stub.asked[0]!.key).toBeUndefined();
    });
  });

  describe('a reload', () => {
    test('keeps the conversation and the options', async () => {
      await page.getByLabel('System prompt').fill('Be brief.');
      await page.getByLabel('Temperature').fill('0.3');
      await askAndWait('Hello');
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      expect(await page.locator('article .body').allInnerTexts()).toEqual(['Hello', 'Good day.']);
      expect(await page.locator('.figures').last().innerText()).toContain('2 tokens');
      await askAndWait('Once more');
      expect(stub.asked[1]!.body).toMatchObject({
        temperature: 0.3,
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'Hello' },
          { role: 'assistant', content: 'Good day.' },
          { role: 'user', content: 'Once more' },
        ],
      });
    });

    test('in the middle of an answer keeps what came of it', async () => {
      stub.reply = answering(['Once upon', ' a time'], { open: true });
      await ask('A story');
      await answers().getByText('Once upon a time').waitFor();
      await page.reload();
      await until(() => stub.aborted === 1);
      expect(await answers().innerText()).toBe('Once upon a time');
      expect(await outcome().innerText()).toBe('Cut off.');
    });

    test('of what is none of ours begins anew', async () => {
      await askAndWait('Hello');
      await page.evaluate(`addEventListener('pagehide', () => {
        localStorage.setItem('tramontane.conversation', '[{"role":"robot"},7,{"role":"user"}]');
        localStorage.setItem('tramontane.options', '[');
      })`);
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      expect(await page.locator('article.assistant').count()).toBe(0);
    });

    test('after clearing shows nothing; clearing can be taken back', async () => {
      await askAndWait('Hello');
      await page.getByRole('button', { name: 'New chat' }).click();
      expect(await page.locator('article').count()).toBe(0);
      await page.getByRole('button', { name: 'Bring it back' }).click();
      expect(await page.locator('article').count()).toBe(2);
      await page.getByRole('button', { name: 'New chat' }).click();
      await page.reload();
      await page.getByText('What shall we talk about?').waitFor();
      expect(await page.locator('article').count()).toBe(0);
      expect(await page.evaluate('localStorage.getItem("tramontane.conversation")')).toBe('[]');
    });
  });

  describe('the options', () => {
    test('go with the request; those left empty do not', async () => {
      await page.getByLabel('Top p').fill('0.9');
      await page.getByLabel('Max tokens').fill('64');
      await page.getByLabel('Seed').fill('7');
      await page.getByLabel('Stop at').fill('END\n\\n\\n');
      await askAndWait('Hello');
      const { body } = stub.asked[0]!;
      expect(body).toMatchObject({ top_p: 0.9, max_tokens: 64, seed: 7, stop: ['END', '\n\n'] });
      expect(body).not.toHaveProperty('temperature');
      expect(body).not.toHaveProperty('response_format');
      await page.getByRole('button', { name: 'Reset the options' }).click();
      await askAndWait('Hello');
      const sent = Object.keys(stub.asked[1]!.body).sort();
      expect(sent).toEqual(['messages', 'model', 'stream', 'stream_options']);
    });

    test.each([
      ['Temperature', '3', 'a number from 0 to 2'],
      ['Top p', '-1', 'a number from 0 to 1'],
      ['Max tokens', '1.5', 'a whole number of at least 1'],
      ['Stop at', 'a\nb\nc\nd\ne', 'At most four lines.'],
    ])('%s of %j is not sent but explained', async (label, value, explanation) => {
      await page.getByLabel(label).fill(value);
      await page.getByText(explanation).waitFor();
      await page.getByRole('button', { name: 'Close options' }).click();
      await ask('Hello');
      await page.getByText(explanation).waitFor();
      expect(await page.getByLabel(label).getAttribute('id')).toBe(
        await page.evaluate('document.activeElement.id'),
      );
      expect(stub.asked).toEqual([]);
      expect(await box().inputValue()).toBe('Hello');
    });

    test.each([
      ['{"type": "object",}', 'Not JSON'],
      ['', 'Not JSON'],
      ['["object"]', 'A JSON schema is an object'],
    ])('a schema of %j is not sent but explained', async (text, explanation) => {
      await page.getByLabel('Form').selectOption('JSON by a schema');
      await page.getByLabel('JSON schema').fill(text);
      await ask('Hello');
      await page.getByText(explanation).waitFor();
      expect(stub.asked).toEqual([]);
    });

    test('a schema goes with the request, and the answer is shown value by value', async () => {
      const schema = { title: 'A city!', type: 'object', properties: { id: { type: 'integer' } } };
      await page.getByLabel('Form').selectOption('JSON by a schema');
      await page.getByLabel('JSON schema').fill(JSON.stringify(schema));
      stub.reply = answering(['{"id":1234567890', '1234567890,"of":[],"t":"a, {b\\"', '"}']);
      await ask('A city');
      await sending().waitFor();
      expect(stub.asked[0]!.body['response_format']).toEqual({
        type: 'json_schema',
        json_schema: { name: 'A_city_', schema, strict: true },
      });
      expect(await answers().locator('code').innerText()).toBe(
        '{\n  "id": 12345678901234567890,\n  "of": [],\n  "t": "a, {b\\""\n}',
      );
    });

    test('any JSON', async () => {
      await page.getByLabel('Form').selectOption('JSON');
      stub.reply = answering(['{}']);
      await askAndWait('Hello');
      expect(stub.asked[0]!.body['response_format']).toEqual({ type: 'json_object' });
    });
  });

  describe('markdown', () => {
    test('is drawn, as it is when it came at once', async () => {
      const text = [
        ...['# Title', 'A **bold** [link](https://example.org) in\na line', '1. one\n2. two'],
        ...['```js\nlet a = 1 < 2;\n```', '|a|b|\n|-|-:|\n|1|2|', '> quoted', '- [x] done'],
        ...['![picture](https://example.org/p.png)', 'see [it]', '[it]: https://example.org/it'],
      ].join('\n\n');
      stub.reply = answering(text.match(/.{1,3}/gs)!);
      await askAndWait('Show all');
      const grown = await answers().innerHTML();
      stub.reply = answering([text]);
      await page.getByRole('button', { name: 'Answer again' }).click();
      await sending().waitFor();
      expect(await answers().innerHTML()).toBe(grown);
      const body = answers();
      expect(await body.locator('h3').innerText()).toBe('Title');
      expect(await body.locator('strong').innerText()).toBe('bold');
      expect(await body.locator('ol li').allInnerTexts()).toEqual(['one', 'two']);
      expect(await body.locator('pre').innerText()).toBe('let a = 1 < 2;');
      expect(await body.locator('td').last().getAttribute('align')).toBe('right');
      expect(await body.locator('blockquote').innerText()).toBe('quoted');
      expect(await body.locator('li').last().innerText()).toContain('☑ done');
      expect(await body.locator('img').count()).toBe(0);
      const link = body.getByRole('link', { name: 'link', exact: true });
      expect(await link.getAttribute('target')).toBe('_blank');
      expect(await link.getAttribute('rel')).toBe('noopener noreferrer');
      expect(await body.getByRole('link', { name: 'it', exact: true }).count()).toBe(1);
    });

    test('code is copied as it is, and keeps its place while it grows', async () => {
      await context!.grantPermissions(['clipboard-read', 'clipboard-write']);
      stub.reply = answering(['```js\nlet a', ' = "<b>";\n', 'a++;'], { open: true });
      await ask('Code');
      await answers().getByText('a++').waitFor();
      await page.getByRole('button', { name: 'Copy the code' }).click();
      await page.getByRole('status').getByText('Copied').waitFor();
      expect(await page.evaluate('navigator.clipboard.readText()')).toBe('let a = "<b>";\na++;');
    });

    test('of thousands of levels is shown as it is', async () => {
      const deep = `${'>'.repeat(20_000)} deep`;
      stub.reply = answering([deep]);
      expect(await askAndWait('Deep')).toContain('deep');
    });
  });

  describe('what a model writes does nothing:', () => {
    test.each([
      '<script>window.hit = 1</script>',
      '<img src=x onerror="window.hit = 1">',
      '<svg onload="window.hit = 1"><script>window.hit = 1</script></svg>',
      '<iframe src="javascript:parent.hit = 1"></iframe>',
      '<a href="javascript:window.hit = 1">press</a>',
      '[press](javascript:window.hit=1)',
      '[press](JaVaScRiPt:window.hit=1)',
      '[press](java&#115;cript:window.hit=1)',
      '[press](data:text/html,<script>opener.hit=1</script>)',
      '[press](vbscript:x)',
      '![press](javascript:window.hit=1)',
      '![x](x"onerror="window.hit=1)',
      '[press](https://x.test/"onmouseover="window.hit=1)',
      '<https://x.test/"onclick="window.hit=1>',
      '<javascript:window.hit=1>',
      '```"><img/src/onerror=window.hit=1>\ncode\n```',
      '- ```x"onload="window.hit=1\n  code\n  ```',
      '|<img src=x onerror=window.hit=1>|\n|-|\n|<b onclick="window.hit=1">b</b>|',
      '<style>body { display: none }</style>',
      '<form action="/v1/x"><button id="send">press</button></form>',
      '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.hit=1&gt;">',
      '[x]: javascript:window.hit=1\n\n[press][x]',
      '<!-- <script>window.hit = 1</script> -->',
    ])('%j', async (text) => {
      const asked: string[] = [];
      page.on('request', (request) => asked.push(request.url()));
      stub.reply = answering(text.match(/.{1,4}/gs)!);
      await askAndWait('Attack');
      for (const link of await answers().getByText('press').all()) {
        await link.click({ noWaitAfter: true });
      }
      expect(await page.evaluate('window.hit')).toBeUndefined();
      const dangerous =
        'script, img, svg:not(button svg), iframe, style, form, input, math, [id], [style]';
      expect(await answers().locator(dangerous).count()).toBe(0);
      const handlers = `[...document.querySelectorAll('article *')].flatMap((each) =>
        each.getAttributeNames().filter((name) => name.startsWith('on')))`;
      expect(await page.evaluate(handlers)).toEqual([]);
      const links = await answers().locator('a[href]').all();
      for (const link of links) expect(await link.getAttribute('href')).toMatch(/^https?:/);
      expect(asked.filter((address) => address.startsWith(url))).toEqual([
        `${url}v1/chat/completions`,
      ]);
      expect(await box().isVisible()).toBe(true);
    });

    test('nor does what the user, the server or the list of models say', async () => {
      const text = '<img src=x onerror="window.hit = 1">';
      stub.models = [{ id: text }];
      stub.reply = refusing(400, { message: text, param: text });
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      await ask(text);
      await notice().getByText(text).waitFor();
      stub.reply = answering([`\`${text}\``]);
      await page.getByRole('button', { name: 'Try again' }).click();
      await answers().getByText(text).waitFor();
      await page.reload();
      await answers().getByText(text).waitFor();
      expect(await page.evaluate('window.hit')).toBeUndefined();
      expect(await page.locator('img').count()).toBe(0);
    });
  });

  describe('themes', () => {
    const back = () => page.evaluate('getComputedStyle(document.body).backgroundColor');

    test('follow the system until one is chosen, which a reload keeps', async () => {
      const light = await back();
      await page.emulateMedia({ colorScheme: 'dark' });
      await page.getByRole('button', { name: 'Light theme' }).waitFor();
      expect(await back()).not.toBe(light);
      await page.getByRole('button', { name: 'Light theme' }).click();
      expect(await back()).toBe(light);
      await page.reload();
      expect(await back()).toBe(light);
      await page.emulateMedia({ colorScheme: null });
    });
  });

  describe('on a phone', () => {
    beforeEach(() =>
      reopen({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true }),
    );

    test('nothing is wider than the screen, whatever the answer', async () => {
      const code = `\`\`\`\n${'wide '.repeat(60)}\n\`\`\``;
      const table = `|${'a|'.repeat(12)}\n|${'-|'.repeat(12)}\n|${'1|'.repeat(12)}`;
      stub.models = [{ id: 'a-model-with-a-name-that-is-longer-than-the-screen-is-wide' }];
      await page.reload();
      await page.locator('#model:enabled').waitFor();
      stub.reply = answering([`${code}\n\n${table}\n\n${'word'.repeat(60)}`]);
      await box().fill('Wide');
      await sending().tap();
      await stopping().waitFor({ state: 'hidden' });
      await answers().getByText('word').waitFor();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    });

    test('the options lie over the conversation until they are closed', async () => {
      const options = page.getByRole('complementary', { name: 'Options' });
      expect(await options.isVisible()).toBe(false);
      await page.getByRole('button', { name: 'Options', exact: true }).tap();
      await page.getByLabel('Seed').fill('5');
      await page.getByRole('button', { name: 'Close options' }).tap();
      expect(await options.isVisible()).toBe(false);
      await box().fill('Hello');
      await sending().tap();
      await answers().getByText('Good day.').waitFor();
      expect(stub.asked[0]!.body['seed']).toBe(5);
    });
  });

  describe('without a mouse', () => {
    test('everything is reached by Tab, in the order of the screen', async () => {
      await askAndWait('```js\ncode\n```');
      await page.evaluate("document.querySelector('.skip').focus()");
      await page.keyboard.press('Shift+Tab');
      const reached: string[] = [];
      for (let i = 0; i < 12; i++) {
        await page.keyboard.press('Tab');
        reached.push(
          await page.evaluate(
            '(document.activeElement.getAttribute("aria-label") ?? document.activeElement.id) || document.activeElement.textContent',
          ),
        );
      }
      expect(reached).toEqual([
        ...['Skip to the message box', 'model', 'New chat', 'Dark theme', 'Options'],
        ...['Copy', 'Edit', 'Copy', 'Answer again', 'prompt', 'Send', 'Close options'],
      ]);
    });

    test('the focus stays in the box from question to question', async () => {
      await askAndWait('Hello');
      await page.keyboard.type('How are you?');
      await page.keyboard.press('Enter');
      await until(() => stub.asked.length === 2);
    });
  });

  describe('has no fault that axe knows of:', () => {
    interface Result {
      readonly violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
    }

    async function violations(): Promise<unknown[]> {
      await page.evaluate(axe);
      const result: Result = await page.evaluate("axe.run({ resultTypes: ['violations'] })");
      return result.violations.map(({ id, nodes }) => [id, nodes[0]]);
    }

    const answer =
      '# A\n\ntext `code` [link](https://x.test)\n\n```js\nx\n```\n\n|a|\n|-|\n|1|\n\n- [ ] b';

    describe.each(['light', 'dark'] as const)('%s', (colorScheme) => {
      test.each([1280, 360])('at a width of %i', async (width) => {
        await reopen({ colorScheme, viewport: { width, height: 700 } });
        expect(await violations()).toEqual([]);
        stub.reply = answering([answer]);
        await askAndWait('Hello');
        expect(await violations()).toEqual([]);
        stub.reply = refusing(429, { message: 'Full.' });
        await ask('Hello');
        await notice().getByText('Full.').waitFor();
        expect(await violations()).toEqual([]);
        stub.reply = () => undefined;
        await notice().getByRole('button', { name: 'Try again' }).click();
        await stopping().waitFor();
        expect(await violations()).toEqual([]);
        await stopping().click();
        await sending().waitFor();
        if (width < 1024) await page.getByRole('button', { name: 'Options', exact: true }).click();
        await page.getByLabel('Form').selectOption('JSON by a schema');
        await page.getByLabel('JSON schema').fill('{');
        await page.getByLabel('Temperature').fill('9');
        expect(await violations()).toEqual([]);
        stub.key = 'sesame';
        await page.reload();
        await page.getByText('This server asks for a key').waitFor();
        expect(await violations()).toEqual([]);
      });
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}
