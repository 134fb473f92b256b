/** How a tensor's values are stored: rows are whole blocks, one after another. */
export interface FormatLayout {
  /** Its number in GGUF files. */
  readonly type: number;
  readonly blockValues: number;
  readonly blockBytes: number;
}

const LAYOUTS = {
  F32: { type: 0, blockValues: 1, blockBytes: 4 },
  F16: { type: 1, blockValues: 1, blockBytes: 2 },
  BF16: { type: 30, blockValues: 1, blockBytes: 2 },
  Q4_0: { type: 2, blockValues: 32, blockBytes: 18 },
  Q4_1: { type: 3, blockValues: 32, blockBytes: 20 },
  Q5_0: { type: 6, blockValues: 32, blockBytes: 22 },
  Q5_1: { type: 7, blockValues: 32, blockBytes: 24 },
  Q8_0: { type: 8, blockValues: 32, blockBytes: 34 },
  Q8_1: { type: 9, blockValues: 32, blockBytes: 36 },
  Q2_K: { type: 10, blockValues: 256, blockBytes: 84 },
  Q3_K: { type: 11, blockValues: 256, blockBytes: 110 },
  Q4_K: { type: 12, blockValues: 256, blockBytes: 144 },
  Q5_K: { type: 13, blockValues: 256, blockBytes: 176 },
  Q6_K: { type: 14, blockValues: 256, blockBytes: 210 },
  IQ4_NL: { type: 20, blockValues: 32, blockBytes: 18 },
  IQ4_XS: { type: 23, blockValues: 256, blockBytes: 136 },
} as const satisfies Readonly<Record<string, FormatLayout>>;

/** Storage formats of a single tensor, by their GGUF names. */
export type TensorFormat = keyof typeof LAYOUTS;

export const FORMATS: Readonly<Record<TensorFormat, FormatLayout>> = LAYOUTS;

/** For messages. */
export const SUPPORTED_FORMATS = Object.keys(FORMATS).join(', ');

/** The float formats, which norms must have and safetensors use. */
export type FloatFormat = 'F32' | 'F16' | 'BF16';

export function isFloat(format: string): format is FloatFormat {
  return format === 'F32' || format === 'F16' || format === 'BF16';
}

const GGML_SUPPORTED: ReadonlyMap<number, TensorFormat> = new Map(
  Object.entries(FORMATS).map(([name, { type }]) => [type, name as TensorFormat]),
);

const GGML_OTHERS: ReadonlyMap<number, string> = new Map([
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [29, 'IQ1_M'],
  [31, 'Q4_0_4_4'],
  [32, 'Q4_0_4_8'],
  [33, 'Q4_0_8_8'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
]);

/** The format a GGUF type number stands for; undefined when it is not supported. */
export function ggmlFormat(type: number): TensorFormat | undefined {
  return GGML_SUPPORTED.get(type);
}

/** A GGUF type number's name, for messages. */
export function ggmlTypeName(type: number): string {
  return GGML_SUPPORTED.get(type) ?? GGML_OTHERS.get(type) ?? `type ${type}`;
}
