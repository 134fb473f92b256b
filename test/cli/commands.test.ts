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

interface BenchSpeed {
  readonly tokensPerSecond: number;
  readonly range: [number, number];
  readonly runs: { tokensPerSecond: number; readBytesPerSecond: number }[];
  readonly percentOfPeak?: number;
}

interface BenchReport {
  readonly implementation: string;
  readonly prompts: {
    tokens: number;
    prefill: BenchSpeed;
    decode: BenchSpeed & { percentOfBandwidth?: number };
  }[];
  readonly streams: (BenchSpeed & { count: number; timesOne: number })[];
  readonly residentBytes: number;
  readonly limits: { readBytesPerSecond: number };
}

describe('bench', () => {
  const sizes = ['--prompt', '40', '--generate', '8', '--streams', '2,3', '--depths', '50'];

  test('--json has every run beside its limits, and their median and range', async () => {
    const { stdout, stderr } = await run('bench', '--json', ...sizes, '--repeat', '3');
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as BenchReport;
    expect(report.implementation).toEqual(expect.any(String));
    expect(report.residentBytes).toBeGreaterThan(1e6);
    expect(report.limits.readBytesPerSecond).toBeGreaterThan(1e8);
    expect(report.prompts.map(({ tokens }) => tokens)).toEqual([40, 50]);
    expect(report.streams.map(({ count }) => count)).toEqual([2, 3]);
    for (const { timesOne } of report.streams) expect(timesOne).toBeGreaterThan(0);
    for (const { prefill, decode } of report.prompts) {
      expect(prefill.percentOfPeak ?? 1).toBeGreaterThan(0);
      expect(decode.percentOfBandwidth).toBeGreaterThan(0);
    }
    const speeds = [...report.prompts.flatMap((at) => [at.prefill, at.decode]), ...report.streams];
    for (const { tokensPerSecond, range, runs } of speeds) {
      const values = runs.map((run) => run.tokensPerSecond).sort((a, b) => a - b);
      expect(values).toHaveLength(3);
      expect(values[0]).toBeGreaterThan(0);
      expect(Number.isFinite(values[2])).toBe(true);
      expect(tokensPerSecond).toBe(values[1]);
      expect(range).toEqual([values[0], values[2]]);
      for (const { readBytesPerSecond } of runs) {
        expect(readBytesPerSecond).toBeGreaterThan(1e8);
        expect(readBytesPerSecond).toBeLessThanOrEqual(report.limits.readBytesPerSecond);
      }
    }
  });

  test('prints a table of 80 columns, with each run of a decode', async () => {
    const { stdout } = await run('bench', ...sizes, '--repeat', '5');
    const prompts = ['prefill 40', 'decode at 40', 'prefill 50', 'decode at 50', 'first token'];
    for (const row of ['load', ...prompts, '2 streams', '3 streams']) {
      expect(stdout).toMatch(new RegExp(`^${row} +[0-9.]+ \\S+ +\\([0-9.]+ to [0-9.]+\\)`, 'm'));
    }
    expect(stdout).toMatch(/^memory +[0-9.]+ MiB$/m);
    const runs = String.raw`[0-9.]+ at [0-9.]+`;
    expect(stdout).toMatch(
      new RegExp(`^  runs at GB/s +(${runs}, ){3}${runs},\\n {16}${runs}$`, 'm'),
    );
    expect(stdout).toMatch(/^3 streams .* t\(3\)\/t\(1\) [0-9]+\.[0-9]{2}$/m);
    const [, ...lines] = stdout.split('\n'); // The first is the model's path.
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(80);
  });

  test('a single run has no range', async () => {
    const { stdout } = await run('bench', ...sizes, '--repeat', '1');
    expect(stdout).toMatch(/^decode at 50 +[0-9.]+ tokens\/s +[0-9.]+% of the bandwidth$/m);
    expect(stdout).not.toContain(' to ');
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
