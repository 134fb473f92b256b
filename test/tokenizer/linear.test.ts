/**
 * No text takes more than linear work, but for the logarithm of the heap: counted in steps, not
 * measured in time (scripts/time-tokenizers.ts does that).
 */
import { CandidateHeap } from '../../lib/tokenizer/candidate-heap';
import { createTokenizer } from '../../lib/tokenizer/create';
import { MergeTable } from '../../lib/tokenizer/byte-level/merge-table';
import { PieceType } from '../../lib/tokenizer/vocabulary';
import {
  byteLevelSource,
  ggufSource,
  jsonSource,
  smallJson,
  type Piece,
  type TokenizerJson,
} from './builders';
import { callsOf, countCalls } from './count';

const LENGTH = 10_000;

/** a, aa, aaaa, ...: and with other scores than the lengths suggest. */
const doubled: Piece[] = [1, 2, 4, 8, 16].map((n) => ({ piece: 'a'.repeat(n), score: -n }));
/** Pieces that grow by one letter, so a run is merged from its left end, letter by letter. */
const growing: Piece[] = Array.from({ length: 200 }, (_, n) => ({
  piece: 'a'.repeat(n + 1),
  score: n,
}));

const texts: [string, string][] = [
  ['equal letters', 'a'.repeat(LENGTH)],
  ['spaces', ' '.repeat(LENGTH)],
  ['two letters in turn', 'ab'.repeat(LENGTH / 2)],
  ['words', 'the quick brown fox '.repeat(LENGTH / 20)],
  ['characters without a piece', '中'.repeat(LENGTH)],
];

describe.each([
  ['doubling pieces', doubled],
  ['growing pieces', growing],
  ['an unused piece', [...doubled, { piece: 'ab', type: PieceType.UNUSED }]],
])('SentencePiece with %s', (_, extra) => {
  const tokenizer = createTokenizer(ggufSource([{ piece: '▁' }, { piece: 'b' }, ...extra]));

  test.each(texts)('%s', (_name, text) => {
    // A character is looked up once, its pairs at most three times, and taking unused pieces apart
    // looks at twice as many parts as there are characters, twice.
    const lookups = countCalls(Map.prototype, 'get', () => tokenizer.encode(text));
    expect(lookups).toBeLessThanOrEqual(8 * (LENGTH + 1));
    const added = countCalls(CandidateHeap.prototype, 'add', () => tokenizer.encode(text));
    expect(added).toBeLessThanOrEqual(3 * (LENGTH + 1));
  });
});

test('text is looked up in parts no longer than the longest piece', () => {
  const tokenizer = createTokenizer(ggufSource([{ piece: '▁' }, ...doubled]));
  const text = 'a'.repeat(LENGTH);
  const keys = callsOf(Map.prototype, 'get', () => tokenizer.encode(text));
  const longest = Math.max(...keys.map((key) => (typeof key === 'string' ? key.length : 0)));
  expect(longest).toBe(16);
});

describe.each([
  ['doubling', ['a a', 'aa aa', 'aaaa aaaa']],
  ['growing', Array.from({ length: 200 }, (_, n) => `a ${'a'.repeat(n + 1)}`)],
])('byte-level BPE with %s merges', (_, merges) => {
  const tokenizer = createTokenizer(byteLevelSource(merges));

  test.each(texts)('%s', (_name, text) => {
    const bytes = Buffer.byteLength(text);
    // Each pair is looked up once when it is met, and once more when it merges.
    const looked = countCalls(MergeTable.prototype, 'rank', () => tokenizer.encode(text));
    expect(looked).toBeLessThanOrEqual(4 * bytes);
    const added = countCalls(CandidateHeap.prototype, 'add', () => tokenizer.encode(text));
    expect(added).toBeLessThanOrEqual(3 * bytes);
  });
});

test('tokenizer.json', () => {
  const tokenizer = createTokenizer(jsonSource(smallJson()));
  for (const [, text] of texts) {
    const added = countCalls(CandidateHeap.prototype, 'add', () => tokenizer.encode(text));
    expect(added).toBeLessThanOrEqual(3 * (LENGTH + 1));
  }
});

test('added tokens that are nearly found at every place', () => {
  const json: TokenizerJson = smallJson();
  json.added_tokens.push({ id: 9, content: 'a'.repeat(255) + 'b', normalized: false });
  const tokenizer = createTokenizer(jsonSource(json));
  const text = 'a'.repeat(LENGTH);
  const lookups = countCalls(Map.prototype, 'get', () => tokenizer.encode(text));
  // 256 is the longest that a token to be found may be.
  expect(lookups).toBeLessThanOrEqual(260 * LENGTH);
});

test('the heap gives back what was added, least priority and then least node first', () => {
  const heap = new CandidateHeap();
  let state = 7;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % below;
  };
  const entries = Array.from({ length: 10_000 }, () => [random(50) - 25, random(1e6)] as const);
  for (const [priority, node] of entries) heap.add(priority, node);
  const sorted = [...entries].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const taken = sorted.map(() => {
    const least = [heap.leastPriority, heap.leastNode];
    heap.dropLeast();
    return least;
  });
  expect(taken).toEqual(sorted);
  expect(heap.size).toBe(0);
});

test('a long text does not change what comes after it', () => {
  const tokenizer = createTokenizer(ggufSource([{ piece: '▁' }, ...doubled]));
  const before = tokenizer.encode('aaa');
  const long = tokenizer.encode('a'.repeat(1_000_000));
  expect(long.length).toBe(1_000_000 / 16 + 1);
  expect(tokenizer.encode('aaa')).toEqual(before);
});
