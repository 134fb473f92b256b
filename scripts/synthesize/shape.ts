/** The shape of a synthetic model, and its weights in the order of a file. */

export interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly window: number;
}

/** Mistral 7B v0.1. */
export const MISTRAL_7B: Shape = {
  layers: 32,
  hidden: 4096,
  ffn: 14336,
  heads: 32,
  kvHeads: 8,
  vocabulary: 32000,
  context: 32768,
  window: 0,
};

/** A matrix by its GGUF name and its Hugging Face name. */
export interface Matrix {
  readonly gguf: string;
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
}

export function matricesOfLayer(shape: Shape, layer: number): Matrix[] {
  const { hidden, ffn } = shape;
  const keys = (hidden / shape.heads) * shape.kvHeads;
  const of = (gguf: string, module: string, rows: number, columns: number): Matrix => ({
    gguf: `blk.${String(layer)}.${gguf}.weight`,
    module: `model.layers.${String(layer)}.${module}`,
    rows,
    columns,
  });
  return [
    of('attn_q', 'self_attn.q_proj', hidden, hidden),
    of('attn_k', 'self_attn.k_proj', keys, hidden),
    of('attn_v', 'self_attn.v_proj', keys, hidden),
    of('attn_output', 'self_attn.o_proj', hidden, hidden),
    of('ffn_gate', 'mlp.gate_proj', ffn, hidden),
    of('ffn_up', 'mlp.up_proj', ffn, hidden),
    of('ffn_down', 'mlp.down_proj', hidden, ffn),
  ];
}

/** A vocabulary that can spell everything: control tokens, bytes, then made-up words. */
export function vocabulary(size: number): { pieces: string[]; types: number[] } {
  const pieces = ['<unk>', '<s>', '</s>'];
  const types = [2, 3, 3];
  for (let byte = 0; byte < 256; byte++) {
    pieces.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    types.push(6);
  }
  for (let i = 0; pieces.length < size; i++) {
    pieces.push(`\u2581${i.toString(36)}`);
    types.push(1);
  }
  return { pieces: pieces.slice(0, size), types: types.slice(0, size) };
}
