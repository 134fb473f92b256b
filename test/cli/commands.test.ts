/** What each command prints, on the embedded model. */
import { readFileSync } from 'node:fs';
import { Model } from '../../lib';
import { EMBEDDED_MODEL } from '../../lib/cli/session';
import { fixture } from '../reference';
import { run, runWith } from './command';

interface Story {
  readonly prompt: string;
  readonly chat: boolean;
  readonly prompt_ids: number[];
  readonly ids: number[];
  readonly text: string;
}

const breeze = JSON.parse(readFileSync(fixture('demo/breeze.json'), 'utf8')) as {
  'breeze-Q4_0': { stories: Story[] };
};
const story = breeze['breeze-Q4_0'].stories.find(({ prompt }) => prompt === 'Once upon a time')!;
const exact = ['--compute', 'f32', '--kv-cache-type', 'f32'];

describe('generate', () => {
  test('without a prompt tells a story; --echo gives its beginning too', async () => {
    const args = ['generate', '--seed', '3'];
    const [plain, echoed] = await Promise.all([run(...args), run(...args, '--echo')]);
    expect(plain).toMatchObject({ status: 0, stderr: '' });
    expect(plain.stdout).toMatch(/^.{100,}\n$/s);
    expect(echoed.stdout).toBe(`Once upon a time${plain.stdout}`);
  });

  test('continues the prompt as the reference does', async () => {
    const { stdout } = await run('generate', '-p', story.prompt, '-t', '0', '-n', '60', ...exact);
    expect(stdout.length).toBeGreaterThan(100);
    expect(story.text.startsWith(stdout.trim())).toBe(true);
  });

  test('--echo puts the prompt first', async () => {
    const args = ['generate', '-p', story.prompt, '-t', '0', '-n', '10'];
    const { stdout } = await run(...args);
    expect((await run(...args, '--echo')).stdout).toBe(story.prompt + stdout);
  });

  test('one seed gives one text, another seed another', async () => {
    const args = ['generate', '-n', '40', '-t', '1', '--seed'];
    const [first, again, other] = await Promise.all(['7', '7', '8'].map((s) => run(...args, s)));
    expect(first!.stdout).toBe(again!.stdout);
    expect(first!.stdout).not.toBe(other!.stdout);
  });

  test('--stop may be given more than once, and ends before the text that comes first', async () => {
    const args = ['generate', '-p', story.prompt, '-t', '0', ...exact];
    const { stdout } = await run(...args, '--stop', 'no such text', '--stop', ' Lily');
    expect(stdout.trim()).toBe(story.text.slice(0, story.text.indexOf(' Lily')));
  });

  test.each(['\\n', '\\u000a'])('--stop %s ends before a line end', async (stop) => {
    const args = ['generate', '-p', story.prompt, '-t', '0', ...exact];
    const { stdout } = await run(...args, '--stop', stop);
    expect(stdout).toBe(`${story.text.slice(0, story.text.indexOf('\n'))}\n`);
  });

  test('--json gives ids, usage and the reason of the end, and nothing else', async () => {
    const args = ['generate', '-p', story.prompt, '-t', '0', '-n', '12', ...exact, '--json'];
    const { stdout } = await run(...args, '--logprobs', '2', '--seed', '5');
    const result = JSON.parse(stdout) as {
      tokenIds: number[];
      logprobs: { token: number; logprob: number; top: unknown[] }[];
    };
    expect(result).toMatchObject({
      tokenIds: story.ids.slice(0, 12),
      finishReason: 'length',
      seed: 5,
      usage: { promptTokens: story.prompt_ids.length, completionTokens: 12 },
    });
    expect(result.logprobs.map(({ token }) => token)).toEqual(result.tokenIds);
    expect(result.logprobs.every(({ top }) => top.length === 2)).toBe(true);
  });

  test('sampling options reach the model', async () => {
    const args = ['generate', '-p', story.prompt, '--json', '-n', '8'];
    const { stdout } = await run(
      ...args,
      '--allowed-tokens',
      '300,301',
      '--logit-bias',
      '301=-inf',
    );
    const { tokenIds } = JSON.parse(stdout) as { tokenIds: number[] };
    expect(tokenIds).toEqual(Array(8).fill(300));
  });

  test('says so when the context ends the text', async () => {
    const { status, stderr } = await run('generate', '--context-size', '32', '--ignore-eos');
    expect(stderr).toMatch(/^tramontane: the context is full at 32 tokens[^\n]*\n$/);
    expect(status).toBe(0);
  });
});

describe('tokenize', () => {
  test('shows each id and its bytes', async () => {
    const { stdout } = await run('tokenize', '-p', 'a time');
    const lines = stdout.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line.split('\t')[1]!) as string).join('')).toBe(
      ' a time',
    );
  });

  test('--ids gives the ids of the reference', async () => {
    const { stdout } = await run('tokenize', '--ids', '--bos', '-p', story.prompt);
    expect(stdout).toBe(`${story.prompt_ids.join(' ')}\n`);
  });

  test('--decode gives the text back', async () => {
    const { stdout } = await run('tokenize', '--decode', '-p', story.prompt_ids.slice(1).join(' '));
    expect(stdout).toBe(`${story.prompt}\n`);
  });

  test('what --json prints is what --decode reads', async () => {
    const encoded = await run('tokenize', '--json', '-p', 'Ümläut 🐕');
    const decoded = await runWith(encoded.stdout, 'tokenize', '--decode', '--json', '-p', '-');
    expect(JSON.parse(decoded.stdout)).toBe('Ümläut 🐕');
  });
});

describe('perplexity', () => {
  test('is low for a story, high for noise', async () => {
    const value = async (text: string) => {
      const { stdout } = await runWith(text, 'perplexity', '--json', '-f', '-');
      return JSON.parse(stdout) as { perplexity: number; tokens: number; chunks: number };
    };
    const [tale, noise] = await Promise.all([
      value(`${story.prompt}${story.text}`),
      value('zq xv qq 77 kj wx zz vq xj qz 91 jj xq'),
    ]);
    expect(tale.perplexity).toBeGreaterThan(1);
    expect(tale.perplexity).toBeLessThan(4);
    expect(noise.perplexity).toBeGreaterThan(100);
  });

  test('--chunk judges parts on their own, every token but the first of each', async () => {
    const text = `${story.prompt}${story.text}`;
    const args = ['perplexity', '--json', '-f', '-'];
    const [whole, parts] = await Promise.all([
      runWith(text, ...args),
      runWith(text, ...args, '--chunk', '33'),
    ]);
    const all = JSON.parse(whole.stdout) as { perplexity: number; tokens: number };
    const some = JSON.parse(parts.stdout) as { perplexity: number; tokens: number; chunks: number };
    expect(some.tokens).toBe(all.tokens); // A BOS goes before each chunk and is not judged.
    expect(some.chunks).toBe(Math.ceil(all.tokens / 32));
    expect(some.perplexity).toBeGreaterThan(all.perplexity);

    const model = await Model.load(EMBEDDED_MODEL);
    const ids = model.tokenizer.encode(text);
    const first = await model.perplexity([model.tokenizer.bosId!, ...ids]);
    await model.dispose();
    expect(all.perplexity).toBeCloseTo(first, 6);
  });

  test('a text of nothing is an error', async () => {
    const { status, stderr } = await runWith('', 'perplexity', '-f', '-');
    expect(stderr).toMatch(/fewer than two tokens/);
    expect(status).toBe(2);
  });

  test('the least context: every chunk is two tokens, and the end is reached', async () => {
    const args = ['perplexity', '--json', '--context-size', '2', '-p', 'Once upon a time'];
    const { tokens, chunks } = JSON.parse((await run(...args)).stdout) as Record<string, number>;
    expect(chunks).toBe(tokens);
  });
});

describe('inspect', () => {
  test('--memory has totals by context and users, and as JSON the parts', async () => {
    const { stdout } = await run('inspect', '--memory');
    expect(stdout).toMatch(/^weights .*\n/);
    expect(stdout).toMatch(/\ncontext +1 user +4 users +16 users +64 users\n2048 /);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    const json = await run('inspect', '--memory', '--users', '3', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ users: 3, contextSize: 4096, fits: true });
    const { status, stderr } = await run('inspect', '--users', '3');
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/go with --memory/);
  });

  test('shows the shape, for people and as JSON', async () => {
    const [people, json] = await Promise.all([run('inspect'), run('inspect', '--json')]);
    expect(people.stdout).toMatch(/^kind +GGUF, llama$/m);
    expect(people.stdout).toMatch(/^tensors .*\bQ4_0 42\b/m);
    // A path is one word.
    const lines = people.stdout.split('\n').filter((line) => !line.startsWith('path'));
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    const facts = JSON.parse(json.stdout) as Record<string, unknown>;
    expect(facts).toMatchObject({ path: EMBEDDED_MODEL, architecture: 'llama' });
  });

  test('shows how a GPTQ directory is quantized', async () => {
    const { stdout } = await run('inspect', fixture('gptq/swa-gptq-b4-g128-actorder'));
    expect(stdout).toMatch(
      /^quantized +4 bits, groups of 128, act-order, symmetric, zero points v1\nnot quantized +lm_head$/m,
    );
  });
});

describe('bench', () => {
  const sizes = ['--prompt', '40', '--generate', '8', '--streams', '2', '--repeat', '3'];

  test('--json has a median and a range for every figure', async () => {
    const { stdout, stderr } = await run('bench', '--json', ...sizes);
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(report['implementation']).toEqual(expect.any(String));
    expect(report['prefill']!['percentOfPeak'] ?? 1).toBeGreaterThan(0);
    expect(report['decode']!['percentOfBandwidth']).toBeGreaterThan(0);
    expect(report['limits']!['readBytesPerSecond']).toBeGreaterThan(1e8);
    for (const [part, key] of [
      ['load', 'milliseconds'],
      ['memory', 'residentBytes'],
      ['firstToken', 'milliseconds'],
      ['prefill', 'tokensPerSecond'],
      ['decode', 'tokensPerSecond'],
      ['streams', 'tokensPerSecond'],
    ] as const) {
      const value = report[part]![key] as number;
      const [least, greatest] = report[part]!['range'] as [number, number];
      expect(value).toBeGreaterThan(0);
      expect(Number.isFinite(value)).toBe(true);
      expect(value).toBeGreaterThanOrEqual(least);
      expect(value).toBeLessThanOrEqual(greatest);
    }
  });

  test('prints a table', async () => {
    const { stdout } = await run('bench', ...sizes, '--depths', '50,60');
    const rows = ['load', 'prefill 40', 'first token', 'decode 8', 'decode at 50', 'decode at 60'];
    for (const row of [...rows, '2 streams', 'resident memory']) {
      expect(stdout).toMatch(new RegExp(`^${row} +[0-9.]+ `, 'm'));
    }
  });

  const small = ['--latency', '--long', '300', '--prompt', '40', '--repeat', '2'];

  test('--latency --json has a median, a range and a share for every figure', async () => {
    const { stdout, stderr } = await run('bench', '--json', ...small);
    expect(stderr).toBe('');
    const figure = {
      value: expect.any(Number) as number,
      range: [expect.any(Number), expect.any(Number)] as number[],
    };
    const share = expect.any(Number) as number;
    const short = { alone: figure, among: figure, timesAlone: share };
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report).toMatchObject({
      among: [
        { tokens: 16, ...short },
        { tokens: 200, ...short },
      ],
      long: { tokens: 300, alone: figure, among: figure, percentOfAll: share },
      generation: {
        plainGap: figure,
        longestGap: figure,
        gaps: share,
        prompt: { tokens: 40, alone: figure, beside: figure, percentOfSpeed: share },
      },
      steps: [1, 4, 8, 16, 32, 64, 128, 512].map((rows) => ({
        rows,
        cost: figure,
        timesOneRow: share,
        rowsPerSecond: share,
      })),
    });
    const { range, value } = (report['long'] as { alone: typeof figure }).alone;
    expect(range[0]).toBeLessThanOrEqual(value);
    expect(range[1]).toBeGreaterThanOrEqual(value);
  });

  test('--latency prints a table', async () => {
    const { stdout } = await run('bench', ...small);
    const prompts = ['16 alone', '16 among', '200 alone', '200 among', '300 alone', '300 among'];
    const beside = ['gap', 'longest gap', '40 alone', '40 beside', 'step of 1', 'step of 512'];
    for (const row of [...prompts, ...beside]) {
      expect(stdout).toMatch(new RegExp(`^${row} +[0-9.]+ ms `, 'm'));
    }
  });
});
