/**
 * Tokenizer files that somebody broke: thousands of seeded changes give typed errors or tokenizers
 * that work, never anything else. Each seed is its own case: a failure names it.
 */
import { readFileSync } from 'node:fs';
import { TramontaneError } from '../../lib/errors';
import { readTokenizerSource } from '../../lib/files/find-tokenizer';
import { createTokenizer } from '../../lib/tokenizer/create';
import { TokenStream } from '../../lib/tokenizer/streaming/token-stream';
import type { GgufTokenizer, TokenizerSource } from '../../lib/files/tokenizer-source';
import { fixture } from '../reference';
import { byteLevelSource, configFile } from './builders';

/** A generator of numbers below a bound, the same for the same seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Random = ReturnType<typeof randomOf>;

const SAMPLE = 'Hello  world\n<s>[INST] é 中 😀 \u0000▁abc the '.repeat(3);

/** How making a tokenizer ends, and using it if it is made. */
function outcome(source: TokenizerSource): string {
  let tokenizer;
  try {
    tokenizer = createTokenizer(source);
  } catch (error) {
    if (error instanceof TramontaneError) {
      if (error.message.includes('\n') || error.message.length > 1000) return 'endless message';
      return error.code;
    }
    return `not typed: ${String(error)}`;
  }
  const ids = tokenizer.encode(SAMPLE);
  if (ids.some((id) => id >= tokenizer.vocabularySize)) return 'an id beyond the vocabulary';
  tokenizer.decode(ids);
  const stream = new TokenStream(tokenizer);
  for (const id of ids) stream.push(id);
  stream.flush();
  return 'made';
}

/** Runs all seeds; the outcomes that are not allowed, with their seeds. */
function run(seeds: number, make: (random: Random) => TokenizerSource) {
  const counts = new Map<string, number>();
  const failures: [number, string][] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const end = outcome(make(randomOf(seed)));
    counts.set(end, (counts.get(end) ?? 0) + 1);
    if (!['made', 'INVALID_FILE', 'UNSUPPORTED_FILE'].includes(end)) failures.push([seed, end]);
  }
  return { counts, failures };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)]!;
}

/** Overwrites, cuts, repeats or inserts some bytes. */
function mutateBytes(random: Random, original: Buffer): Buffer {
  let bytes = Buffer.from(original);
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(bytes.length + 1);
    const length = random(20);
    switch (random(8)) {
      case 0:
        bytes = bytes.subarray(0, at);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 2: {
        const inserted = Buffer.from(Array.from({ length }, () => random(256)));
        bytes = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
        break;
      }
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      default:
        if (at < bytes.length) bytes[at] = pick(random, [0, 1, 0x7f, 0x80, 0xff, random(256)]);
    }
    if (bytes.length === 0) break;
  }
  return bytes;
}

test('tokenizer.model', () => {
  const bytes = readFileSync(fixture('tokens/tokenizer-json/v1-384.model'));
  const { counts, failures } = run(3000, (random) => ({
    kind: 'sentencepiece',
    path: 'mutated.model',
    bytes: mutateBytes(random, bytes),
  }));
  expect(failures).toEqual([]);
  expect(counts.get('made')).toBeGreaterThan(100);
  expect(counts.get('INVALID_FILE')).toBeGreaterThan(1000);
});

const ODD_VALUES = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  2 ** 31,
  '',
  'a',
  '▁',
  '\ud800',
  '<0x41>',
  '__proto__',
  'constructor',
  [],
  {},
  [['a', 'b']],
  { type: 'Sequence' },
];

/** Replaces, removes, copies or swaps values anywhere in a tree. */
function mutateTree(random: Random, root: Record<string, unknown>): void {
  for (let n = 1 + random(3); n > 0; n--) {
    let node: Record<string, unknown> = root;
    for (;;) {
      const keys = Object.keys(node);
      if (keys.length === 0) break;
      const key = pick(random, keys);
      const child = node[key];
      if (typeof child === 'object' && child !== null && random(5) > 0) {
        node = child as Record<string, unknown>;
        continue;
      }
      const other = pick(random, keys);
      if (random(4) === 0) node[key] = structuredClone(node[other]);
      else if (random(6) === 0) Reflect.deleteProperty(node, key);
      else node[key] = structuredClone(pick(random, ODD_VALUES));
      break;
    }
  }
}

test.each(['v1-384-prepend', 'v3-419-metaspace'])('%s.tokenizer.json', (name) => {
  const text = readFileSync(fixture(`tokens/tokenizer-json/${name}.tokenizer.json`), 'utf8');
  const bytes = Buffer.from(text);
  const { counts, failures } = run(1500, (random) => {
    const source = { kind: 'tokenizer.json', path: 'mutated.json' } as const;
    if (random(4) === 0) return { ...source, bytes: mutateBytes(random, bytes) };
    const tree = JSON.parse(text) as Record<string, unknown>;
    mutateTree(random, tree);
    return { ...source, bytes: Buffer.from(JSON.stringify(tree)) };
  });
  expect(failures).toEqual([]);
  expect(counts.get('made')).toBeGreaterThan(200);
  expect(counts.get('INVALID_FILE')).toBeGreaterThan(200);
  expect(counts.get('UNSUPPORTED_FILE')).toBeGreaterThan(20);
});

test('tokenizer_config.json', () => {
  const config = {
    add_bos_token: true,
    bos_token: { content: '<s>', special: true },
    eos_token: '</s>',
    added_tokens_decoder: { '384': { content: 'x y', special: false }, '385': { content: '<z>' } },
  };
  const bytes = readFileSync(fixture('tokens/tokenizer-json/v1-384.model'));
  const { counts, failures } = run(600, (random) => {
    const tree = structuredClone(config);
    mutateTree(random, tree);
    const source = { kind: 'sentencepiece', path: 'x.model', bytes } as const;
    return { ...source, config: configFile(tree) };
  });
  expect(failures).toEqual([]);
  expect(counts.get('made')).toBeGreaterThan(100);
  expect(counts.get('INVALID_FILE')).toBeGreaterThan(100);
});

/** Changes elements, lengths and ids of the arrays of a GGUF header. */
function mutateGguf(random: Random, source: GgufTokenizer): GgufTokenizer {
  const pieces = [...source.pieces];
  const merges = [...(source.merges ?? [])];
  const types = Array.from(source.types ?? []);
  const scores = Array.from(source.scores ?? []);
  const odd = ['', ' ', '▁', '<0x41>', '<0xZZ>', '__proto__', 'a'.repeat(2000), '\ufffd', '▁▁'];
  for (let n = 1 + random(4); n > 0; n--) {
    const at = random(pieces.length);
    switch (random(8)) {
      case 0:
        pieces[at] = pick(random, [...odd, pieces[random(pieces.length)]!]);
        break;
      case 1:
        types[at] = pick(random, [-1, 0, 1, 2, 3, 4, 5, 6, 7, 2 ** 30]);
        break;
      case 2:
        scores[at] = pick(random, [NaN, Infinity, -Infinity, 0, -0, 1e38, -5]);
        break;
      case 3:
        pick(random, [pieces, merges, types, scores] as unknown[][]).pop();
        break;
      case 4:
        for (let i = 0; i < types.length; i++) if (random(3) === 0) types[i] = 4 + random(3);
        break;
      case 5:
        if (merges.length === 0) break;
        merges[random(merges.length)] = pick(random, [
          '',
          ' ',
          'a',
          'a b',
          'a  b',
          'zz zz',
          ' a b',
        ]);
        break;
      case 6:
        for (let i = 0; i < scores.length; i++) scores[i] = random(3);
        break;
      default:
        merges.push(pick(random, [...odd, 'a b', 'Ġ Ġ']));
    }
  }
  const id = (old: number | undefined): { id?: number } => {
    const value = pick(random, [old, old, old, 0, pieces.length - 1, pieces.length, 2 ** 32 - 1]);
    return value === undefined ? {} : { id: value };
  };
  const { id: bosId } = id(source.bosId);
  return {
    ...source,
    pieces,
    types: Int32Array.from(types),
    ...(source.scores === undefined ? {} : { scores: Float32Array.from(scores) }),
    ...(source.merges === undefined ? {} : { merges }),
    ...(bosId === undefined ? {} : { bosId }),
  };
}

test('GGUF arrays of SentencePiece', async () => {
  const source = (await readTokenizerSource(fixture('gguf/swa-Q4_0.gguf'))) as GgufTokenizer;
  const { counts, failures } = run(2000, (random) => mutateGguf(random, source));
  expect(failures).toEqual([]);
  expect(counts.get('made')).toBeGreaterThan(300);
  expect(counts.get('INVALID_FILE')).toBeGreaterThan(500);
});

test.each(['default', 'smollm', 'llama-bpe', 'tekken'])(
  'GGUF arrays of byte-level BPE, %s',
  (pre) => {
    const source = byteLevelSource(['t h', 'th e', 'Ġ the', 'l l', 'Ġ w', 'Ã ©'], {
      pre,
      bosId: 0,
    });
    const { counts, failures } = run(600, (random) => mutateGguf(random, source));
    expect(failures).toEqual([]);
    expect(counts.get('made')).toBeGreaterThan(50);
    expect(counts.get('INVALID_FILE')).toBeGreaterThan(200);
  },
);
