/** Long texts are encoded beside the event loop: to the same ids, and never for long at a time. */
import { TramontaneError } from '../../lib/errors';
import type { BaseTokenizer } from '../../lib/tokenizer/base-tokenizer';
import { MergeTable } from '../../lib/tokenizer/byte-level/merge-table';
import { createTokenizer } from '../../lib/tokenizer/create';
import { runInSlices, type Steps } from '../../lib/tokenizer/slices';
import { PieceType } from '../../lib/tokenizer/vocabulary';
import {
  basePieces,
  byteLevelSource,
  ggufSource,
  jsonSource,
  sentencePieceSource,
  smallJson,
} from './builders';

const LENGTH = 30_000;

const doubled = [1, 2, 4, 8, 16].map((n) => ({ piece: 'a'.repeat(n), score: -n }));
const extra = [{ piece: '▁' }, { piece: '▁the', score: 5 }, { piece: 'th', score: 4 }, ...doubled];
const json = smallJson();
json.added_tokens.push({ id: 9, content: 'abac', normalized: false });

const tokenizers: [string, BaseTokenizer][] = [
  ['SentencePiece', createTokenizer(ggufSource(extra))],
  [
    'SentencePiece with an unused piece, found by no seams',
    createTokenizer(ggufSource([...extra, { piece: 'ab', type: PieceType.UNUSED }])),
  ],
  [
    'SentencePiece with a user-defined piece',
    createTokenizer(
      sentencePieceSource({
        pieces: [...basePieces(), ...extra, { piece: 'abac', type: PieceType.USER_DEFINED }],
      }),
    ),
  ],
  ['byte-level BPE', createTokenizer(byteLevelSource(['a a', 'aa aa', 'Ġ t', 'Ġt h']))],
  ['tokenizer.json', createTokenizer(jsonSource(json))],
];

const texts = [
  'a'.repeat(LENGTH),
  ' '.repeat(LENGTH),
  'ab'.repeat(LENGTH / 2),
  'the quick brown fox '.repeat(LENGTH / 20),
  // Halves of characters lie at every place where a block may end.
  'a' + '😀'.repeat(LENGTH / 2),
  '中1\n'.repeat(LENGTH / 3),
  'abac'.repeat(LENGTH / 4),
];

interface Stepped {
  encodeSteps(ids: number[], text: string): Steps;
}

/** How many pieces and merges are looked up in each step. */
function lookupsOfEach(steps: Steps): number[] {
  const counts: number[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this`, and put back
  const [{ get }, { rank }] = [Map.prototype, MergeTable.prototype];
  let count = 0;
  Map.prototype.get = function (key: unknown) {
    count++;
    return get.call(this, key) as unknown;
  };
  MergeTable.prototype.rank = function (left, right) {
    count++;
    return rank.call(this, left, right);
  };
  try {
    for (let step = steps.next(); ; step = steps.next()) {
      counts.push(count);
      count = 0;
      if (step.done === true) return counts;
    }
  } finally {
    Map.prototype.get = get;
    MergeTable.prototype.rank = rank;
  }
}

describe.each(tokenizers)('%s', (_, tokenizer) => {
  test('several texts at once, and others between their slices, have their own ids', async () => {
    const expected = texts.map((text) => tokenizer.encode(text));
    const sliced = texts.map((text) => tokenizer.encodeInSlices(text));
    const [between] = await Promise.all([
      new Promise((resolve) => {
        setImmediate(() => {
          resolve(tokenizer.encode(texts[3]!));
        });
      }),
      ...sliced,
    ]);
    expect(String(between)).toBe(String(expected[3]));
    expect((await Promise.all(sliced)).map(String)).toEqual(expected.map(String));
  });

  test.each(texts.map((text) => [text.slice(0, 6), text]))(
    '%j ...: no step does much',
    (_name, text) => {
      const steps = (tokenizer as unknown as Stepped).encodeSteps([], text);
      const lookups = lookupsOfEach(steps);
      // Three look-ups a merge at most, 2048 merges a step, and what short words add.
      expect(Math.max(...lookups)).toBeLessThan(20_000);
      expect(lookups.reduce((sum, count) => sum + count)).toBeGreaterThan(LENGTH / 4);
    },
  );
});

test('the arguments are checked as by encode', async () => {
  const [, tokenizer] = tokenizers[0]!;
  expect(await tokenizer.encodeInSlices('a', { bos: true })).toEqual(
    Int32Array.from(tokenizer.encode('a', { bos: true })),
  );
  await expect(tokenizer.encodeInSlices('\ud800')).rejects.toMatchObject({
    code: 'INVALID_PROMPT',
  });
  const wrong = tokenizer.encodeInSlices('a', { eos: true } as never);
  await expect(wrong).rejects.toMatchObject({ code: 'INVALID_OPTION' });
});

describe('work in slices', () => {
  function* counting(log: string[], name: string, steps: number): Steps {
    for (let n = 0; n < steps; n++) {
      const end = performance.now() + 2;
      while (performance.now() < end);
      log.push(name);
      yield;
    }
  }

  test('takes turns, and the event loop goes on between them', async () => {
    const log: string[] = [];
    let turns = 0;
    const count = (): void => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await Promise.all([runInSlices(counting(log, 'a', 20)), runInSlices(counting(log, 'b', 20))]);
    clearImmediate(timer);
    expect(log.indexOf('b')).toBeLessThan(log.lastIndexOf('a'));
    // Two steps of 2 ms fit a slice of 3 ms.
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  test('that throws rejects, and what waits behind it goes on', async () => {
    const log: string[] = [];
    // eslint-disable-next-line require-yield
    const failing = (function* (): Steps {
      throw new TramontaneError('INVALID_PROMPT', 'no');
    })();
    const failed = runInSlices(failing);
    const other = runInSlices(counting(log, 'b', 3));
    await expect(failed).rejects.toMatchObject({ code: 'INVALID_PROMPT' });
    await other;
    expect(log).toEqual(['b', 'b', 'b']);
  });
});
