/** The adapters of a model (LoRA, arXiv:2106.09685): their places in native's memory and in files. */
import type { ModelShape, WeightRole } from '../files/checkpoint';
import { slots } from '../files/weights';
import { SeededRandom } from './seeded-random';

/** The linear layers that may have an adapter, by the names files have for them. */
export const TARGET_MODULES = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'down_proj',
] as const;

export type TargetModule = (typeof TARGET_MODULES)[number];

/** An adapter: A [rank][inputs] and B [outputs][rank], of which y = W x + scale B A x is made. */
export interface LoraSlot {
  /** `model.layers.0.self_attn.q_proj` */
  readonly module: string;
  readonly role: WeightRole;
  readonly layer: number;
  readonly inputs: number;
  readonly outputs: number;
  /** Where A begins in native's parameters, and where the transposed B [rank][outputs] does. */
  readonly a: number;
  readonly b: number;
  /** Place in the model's own order of outputs of each output in the order of files. */
  readonly outputPlace: (output: number) => number;
}

/** All adapters in native's order. */
export function loraSlots(
  shape: ModelShape,
  targets: readonly TargetModule[],
  rank: number,
): LoraSlot[] {
  let end = 0;
  return slots(shape)
    .filter(({ module }) => targets.some((target) => module.endsWith(`.${target}`)))
    .map(({ module, role, layer, rows: outputs, columns: inputs }) => {
      const a = end;
      const b = a + rank * inputs;
      end = b + rank * outputs;
      const isRotated = role === 'query' || role === 'key';
      const outputPlace =
        isRotated && shape.ropePairing === 'neighbours'
          ? neighbourPlace(shape.headSize)
          : (output: number) => output;
      return { module, role, layer, inputs, outputs, a, b, outputPlace };
    });
}

/**
 * Files of adapters have the rows of q and k as Hugging Face does, the halves of a head one after
 * the other; GGUF has the two of a pair side by side.
 * @example with heads of 4, outputs 0 1 2 3 come to places 0 2 1 3
 */
function neighbourPlace(headSize: number): (output: number) => number {
  const half = headSize / 2;
  return (output) => {
    const inHead = output % headSize;
    return output - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
  };
}

/** The roles of targets, in native's order. */
export function rolesOf(adapters: readonly LoraSlot[]): WeightRole[] {
  return [...new Set(adapters.map(({ role }) => role))];
}

export function parameterCount(adapters: readonly LoraSlot[], rank: number): number {
  const last = adapters.at(-1);
  return last === undefined ? 0 : last.b + rank * last.outputs;
}

/** As PEFT begins: A uniform in +-1 / sqrt(inputs), B zero, so that the model is the base at first. */
export function initialParameters(
  adapters: readonly LoraSlot[],
  rank: number,
  seed: number,
): Float32Array {
  const parameters = new Float32Array(parameterCount(adapters, rank));
  const random = new SeededRandom(seed);
  for (const { inputs, a, b } of adapters) {
    const bound = 1 / Math.sqrt(inputs);
    for (let i = a; i < b; i++) parameters[i] = (2 * random.next() - 1) * bound;
  }
  return parameters;
}

/** B as files have it, [outputs][rank]. */
export function exportedB(slot: LoraSlot, rank: number, parameters: Float32Array): Float32Array {
  const b = new Float32Array(slot.outputs * rank);
  for (let output = 0; output < slot.outputs; output++) {
    const from = slot.b + slot.outputPlace(output);
    for (let r = 0; r < rank; r++) b[output * rank + r] = parameters[from + r * slot.outputs]!;
  }
  return b;
}

/** Puts a file's B [outputs][rank] where native has it. */
export function importB(
  slot: LoraSlot,
  rank: number,
  b: Float32Array,
  parameters: Float32Array,
): void {
  for (let output = 0; output < slot.outputs; output++) {
    const to = slot.b + slot.outputPlace(output);
    for (let r = 0; r < rank; r++) parameters[to + r * slot.outputs] = b[output * rank + r]!;
  }
}
