import type { ModelShape, SlidingWindow } from './checkpoint';
import type { Facts } from './facts';

/** Bounds of what a file may say: wide for real models, narrow enough that products stay exact. */
const MAX_LAYERS = 1024;
const MAX_WIDTH = 2 ** 20;
const MAX_HEADS = 2 ** 14;
const MAX_TOKENS = 2 ** 31 - 1;

/** What a format calls the numbers of a model's shape. */
export interface ShapeKeys {
  readonly layers: string;
  readonly hiddenSize: string;
  readonly ffnSize: string;
  readonly heads: string;
  readonly kvHeads: string;
  /** Tried in turn, then hiddenSize / heads. */
  readonly headSize: readonly string[];
  readonly contextSize: string;
  readonly rmsEpsilon: string;
  /** Tried in turn, then 10000. */
  readonly ropeBase: readonly string[];
  readonly slidingWindow: string;
}

/** Reads and checks everything of a shape but the vocabulary, which each format keeps elsewhere. */
export function readShape(
  facts: Facts,
  keys: ShapeKeys,
  vocabularySize: number,
  ropePairing: ModelShape['ropePairing'],
): ModelShape {
  const size = (key: string, max: number): number => {
    return facts.required(key, facts.integer(key, 1, max));
  };
  const hiddenSize = size(keys.hiddenSize, MAX_WIDTH);
  const heads = size(keys.heads, MAX_HEADS);
  const kvHeads = facts.integer(keys.kvHeads, 1, MAX_HEADS) ?? heads;
  if (heads % kvHeads !== 0) {
    throw facts.invalid(keys.heads, `is ${heads}, not a multiple of the ${kvHeads} KV heads`);
  }
  return {
    layers: size(keys.layers, MAX_LAYERS),
    hiddenSize,
    ffnSize: size(keys.ffnSize, MAX_WIDTH),
    heads,
    kvHeads,
    headSize: readHeadSize(facts, keys, hiddenSize, heads),
    vocabularySize,
    contextSize: size(keys.contextSize, MAX_TOKENS),
    rmsEpsilon: facts.required(keys.rmsEpsilon, facts.real(keys.rmsEpsilon, 1e-12, 1)),
    ropeBase: firstOf(keys.ropeBase, (key) => facts.real(key, 1, 1e15)) ?? 10_000,
    ropePairing,
  };
}

function readHeadSize(facts: Facts, keys: ShapeKeys, hiddenSize: number, heads: number): number {
  const named = firstOf(keys.headSize, (key) => facts.integer(key, 1, MAX_WIDTH));
  if (named === undefined && hiddenSize % heads !== 0) {
    throw facts.invalid(keys.heads, `is ${heads}, which does not divide ${hiddenSize}`);
  }
  const headSize = named ?? hiddenSize / heads;
  if (headSize % 8 !== 0) {
    throw facts.unsupported(keys.heads, `makes heads of ${headSize}; multiples of 8 are supported`);
  }
  if (heads * headSize > MAX_WIDTH) {
    throw facts.invalid(keys.heads, `is ${heads}, too many for heads of ${headSize}`);
  }
  return headSize;
}

function firstOf<T>(keys: readonly string[], read: (key: string) => T | undefined): T | undefined {
  for (const key of keys) {
    const value = read(key);
    if (value !== undefined) return value;
  }
  return undefined;
}

/**
 * The window a file asks for: its key (0 or null: none), else 4096 when the shape is the one of
 * Mistral 7B v0.1, whose GGUF files mostly lack the key, and of its fine-tunes, which added tokens.
 */
export function readSlidingWindow(facts: Facts, keys: ShapeKeys, shape: ModelShape): SlidingWindow {
  const key = keys.slidingWindow;
  if (facts.raw(key) !== undefined) {
    const size = facts.integer(key, 0, MAX_TOKENS) ?? 0;
    return { size: size === 0 ? null : size, source: 'file' };
  }
  if (isMistral7Bv01(shape)) return { size: 4096, source: 'v0.1-shape' };
  return { size: null, source: 'none' };
}

function isMistral7Bv01(shape: ModelShape): boolean {
  return (
    shape.layers === 32 &&
    shape.hiddenSize === 4096 &&
    shape.ffnSize === 14_336 &&
    shape.heads === 32 &&
    shape.kvHeads === 8 &&
    shape.headSize === 128 &&
    shape.contextSize === 32_768 &&
    shape.ropeBase === 10_000 &&
    shape.vocabularySize >= 32_000 &&
    shape.vocabularySize <= 32_063
  );
}
