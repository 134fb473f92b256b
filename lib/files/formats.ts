import type { TensorFormat } from './checkpoint';

/** How a tensor's values are stored: rows are whole blocks, one after another. */
export interface FormatLayout {
  readonly blockValues: number;
  readonly blockBytes: number;
}

export const FORMATS: Readonly<Record<TensorFormat, FormatLayout>> = {
  F32: { blockValues: 1, blockBytes: 4 },
  F16: { blockValues: 1, blockBytes: 2 },
  BF16: { blockValues: 1, blockBytes: 2 },
  Q4_0: { blockValues: 32, blockBytes: 18 },
  Q4_1: { blockValues: 32, blockBytes: 20 },
  Q5_0: { blockValues: 32, blockBytes: 22 },
  Q5_1: { blockValues: 32, blockBytes: 24 },
  Q8_0: { blockValues: 32, blockBytes: 34 },
  Q2_K: { blockValues: 256, blockBytes: 84 },
  Q3_K: { blockValues: 256, blockBytes: 110 },
  Q4_K: { blockValues: 256, blockBytes: 144 },
  Q5_K: { blockValues: 256, blockBytes: 176 },
  Q6_K: { blockValues: 256, blockBytes: 210 },
  IQ4_NL: { blockValues: 32, blockBytes: 18 },
  IQ4_XS: { blockValues: 256, blockBytes: 136 },
};

/** For messages. */
export const SUPPORTED_FORMATS = Object.keys(FORMATS).join(', ');

/** The float formats, which norms must have and safetensors use. */
export type FloatFormat = 'F32' | 'F16' | 'BF16';

export function isFloat(format: string): format is FloatFormat {
  return format === 'F32' || format === 'F16' || format === 'BF16';
}

const GGML_SUPPORTED: ReadonlyMap<number, TensorFormat> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [20, 'IQ4_NL'],
  [23, 'IQ4_XS'],
  [30, 'BF16'],
]);

const GGML_OTHERS: ReadonlyMap<number, string> = new Map([
  [9, 'Q8_1'],
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
