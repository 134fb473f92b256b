/** Random weights of a format, as bytes: made once, then written over and over. */

/** SplitMix32: fast, and the same every time. */
export function randomBytes(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (state + 0x9e3779b9) | 0;
    let x = state ^ (state >>> 16);
    x = Math.imul(x, 0x21f0aaad);
    x ^= x >>> 15;
    x = Math.imul(x, 0x735a2d97);
    words[i] = x ^ (x >>> 15);
  }
  return Buffer.from(words.buffer, 0, length);
}

/** Where the f16 scales of a block lie, and how large a scale keeps weights near 0.02. */
const SCALES: Readonly<Record<string, { readonly at: readonly number[]; readonly scale: number }>> =
  {
    Q4_0: { at: [0], scale: 0.005 },
    Q4_1: { at: [0, 2], scale: 0.005 },
    Q5_0: { at: [0], scale: 0.0025 },
    Q5_1: { at: [0, 2], scale: 0.0025 },
    Q8_0: { at: [0], scale: 0.0003 },
    Q8_1: { at: [0, 2], scale: 0.0003 },
    Q2_K: { at: [80, 82], scale: 0.001 },
    Q3_K: { at: [108], scale: 0.0005 },
    Q4_K: { at: [0, 2], scale: 0.0001 },
    Q5_K: { at: [0, 2], scale: 0.00005 },
    Q6_K: { at: [208], scale: 0.00001 },
    IQ4_NL: { at: [0], scale: 0.0004 },
    IQ4_XS: { at: [0], scale: 0.00002 },
  };

/** f16 bits of a number of moderate size. */
export function half(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.max(-14, Math.floor(Math.log2(value)));
  const fraction = Math.round((value / 2 ** exponent - 1) * 1024);
  if (value < 2 ** -14) return Math.round(value * 2 ** 24);
  return (exponent + 15) * 1024 + fraction;
}

/** A run of whole blocks with small finite scales. */
export function blocks(format: string, blockBytes: number, count: number): Buffer {
  const known = SCALES[format];
  if (!known) throw new Error(`cannot make ${format}; there are ${Object.keys(SCALES).join(', ')}`);
  const bytes = randomBytes(blockBytes * count, 1);
  for (let block = 0; block < count; block++) {
    for (const at of known.at) bytes.writeUInt16LE(half(known.scale), block * blockBytes + at);
  }
  return bytes;
}

/** A run of f16 numbers, all `value`, or small random ones of either sign. */
export function halves(count: number, value?: number): Buffer {
  const bytes = randomBytes(2 * count, 2);
  for (let i = 0; i < count; i++) {
    const small = half(0.02 * ((bytes.readUInt16LE(2 * i) & 0x7fff) / 0x8000)) | ((i & 1) << 15);
    bytes.writeUInt16LE(value === undefined ? small : half(value), 2 * i);
  }
  return bytes;
}
