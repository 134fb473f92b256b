/** Weights quantized by GPTQ: their tensors, checked against the model's shape and each other. */
import type { FileRange, GptqParts, Weight } from '../checkpoint';
import { isFloat } from '../formats';
import type { GptqConfig, GptqRules } from './config';
import type { HfTensor, HfTensors } from '../hf/tensors';
import { invalid, quoted, unsupported } from '../problems';
import type { Slot } from '../weights';

/** Reads the weight of a module that has a `.qweight`. Only its g_idx is read, where it has one. */
export async function gptqWeight(
  slot: Slot,
  found: HfTensors,
  config: GptqConfig,
): Promise<Weight> {
  const { role, layer, rows, columns, module } = slot;
  const rules = config.rules(module);
  const parts = new Parts(slot, found, config, rules);
  const scales = parts.take('scales');
  const format = scales.type;
  if (!isFloat(format)) {
    const what = `tensor ${quoted(scales.name)} is ${format}`;
    throw unsupported(scales.source.path, `${what}; F16, BF16 and F32 are supported`, scales.at);
  }
  const qweight = parts.take('qweight');
  const qzeros = parts.take('qzeros');
  parts.expect(qweight, 'I32', [parts.words(columns), rows]);
  parts.expect(qzeros, 'I32', [parts.groups, parts.words(rows)]);
  parts.expect(scales, format, [parts.groups, rows]);
  const order = await outOfOrder(parts);
  const groups = order?.groups ?? groupsInOrder(columns, parts.groupSize);
  const columnsInOrder = orderedColumns(groups, parts.groups);
  const gptq: GptqParts = {
    bits: rules.bits,
    groupSize: parts.groupSize,
    zeroBias: rules.zeroBias,
    actOrder: order !== undefined,
    qweight: range(qweight),
    qzeros: range(qzeros),
    scales: { ...range(scales), format },
    ...(order === undefined ? {} : { groupIndex: range(order.tensor) }),
    ...(columnsInOrder === undefined ? {} : { orderedColumns: columnsInOrder }),
  };
  return { name: module, role, layer, rows, columns, storage: { format: 'GPTQ', gptq } };
}

/** `GPTQ-4bit-g128`; `gall` where a whole column is one group. */
export function gptqFormatName({ bits, groupSize }: GptqRules): string {
  return `GPTQ-${bits}bit-g${groupSize ?? 'all'}`;
}

/** The tensors of one module. */
class Parts {
  readonly groupSize: number;
  readonly groups: number;

  constructor(
    readonly slot: Slot,
    private readonly found: HfTensors,
    private readonly config: GptqConfig,
    readonly rules: GptqRules,
  ) {
    this.groupSize = Math.min(rules.groupSize ?? slot.columns, slot.columns);
    this.groups = Math.ceil(slot.columns / this.groupSize);
    for (const [size, name] of [
      [slot.columns, 'inputs'],
      [slot.rows, 'outputs'],
    ] as const) {
      if ((size * rules.bits) % 32 !== 0) {
        const problem = `${rules.bits} bits of ${size} ${name} are not whole 32-bit words`;
        throw invalid(config.path, `module ${quoted(slot.module)}: ${problem}`);
      }
    }
  }

  words(values: number): number {
    return (values * this.rules.bits) / 32;
  }

  find(part: string): HfTensor | undefined {
    return this.found.tensors.get(`${this.slot.module}.${part}`);
  }

  take(part: string): HfTensor {
    const tensor = this.find(part);
    if (tensor !== undefined) return tensor;
    // Some part is there, or nobody would have asked; its file is the one to name.
    const other = this.find('qweight') ?? this.find('scales');
    const path = other?.source.path ?? this.config.path;
    throw invalid(path, `tensor ${quoted(`${this.slot.module}.${part}`)} is missing`, other?.at);
  }

  expect(tensor: HfTensor, type: string, shape: readonly number[]): void {
    if (tensor.type === type && tensor.shape.join() === shape.join()) return;
    const { rows, columns } = this.slot;
    const { bits, groupSize } = this.rules;
    const what = `tensor ${quoted(tensor.name)} is ${tensor.type} [${tensor.shape.join(', ')}]`;
    const at = tensor.at;
    if (this.looksLikeAwq()) {
      const problem = `${what}, as AWQ packs it; the layout of GPTQ is supported`;
      throw unsupported(tensor.source.path, problem, at);
    }
    const wanted = `${type} [${shape.join(', ')}]`;
    const group = groupSize === undefined ? 'a whole column' : `${groupSize} inputs`;
    const rules = `${bits} bits and groups of ${group}`;
    const reason = `${columns} inputs and ${rows} outputs with ${rules} (${this.config.path})`;
    throw invalid(tensor.source.path, `${what}, and not the ${wanted} of ${reason}`, at);
  }

  /** AWQ packs outputs, GPTQ inputs. */
  private looksLikeAwq(): boolean {
    const shape = this.find('qweight')?.shape;
    const { rows, columns } = this.slot;
    return shape?.[0] === columns && shape[1] === this.words(rows);
  }
}

/**
 * The g_idx of a module, when it says anything but k / groupSize. AutoGPTQ's predecessors wrote
 * zeros into the g_idx of files without act-order, which mean nothing; an empty one says nothing
 * either.
 */
async function outOfOrder(
  parts: Parts,
): Promise<{ tensor: HfTensor; groups: Int32Array } | undefined> {
  const { groupSize, groups, rules, slot } = parts;
  const hasMeaning = rules.actOrder && groups > 1;
  const tensor = hasMeaning ? parts.take('g_idx') : parts.find('g_idx');
  if (tensor === undefined || (tensor.byteLength === 0 && !hasMeaning)) return undefined;
  const type = tensor.type === 'I64' ? 'I64' : 'I32';
  parts.expect(tensor, type, [slot.columns]);
  const { path } = tensor.source;
  const what = `tensor ${quoted(tensor.name)}`;
  const { buffer } = await tensor.source.read(tensor.offset, tensor.byteLength);
  const index =
    type === 'I32' ? new Int32Array(buffer) : Float64Array.from(new BigInt64Array(buffer), Number);
  let inOrder = true;
  let zeros = true;
  for (let k = 0; k < index.length; k++) {
    const group = index[k]!;
    if (group < 0 || group >= groups) {
      const problem = `${what}: input ${k} is of group ${group}, and there are ${groups}`;
      throw invalid(path, problem, tensor.offset + k * (tensor.byteLength / slot.columns));
    }
    inOrder &&= group === Math.floor(k / groupSize);
    zeros &&= group === 0;
  }
  if (inOrder || (zeros && !rules.actOrder)) return undefined;
  if (zeros) throw invalid(path, `${what} is all zeros in a file with act-order`, tensor.offset);
  if (type === 'I64') {
    const problem = `${what} is I64 and out of order; I32 is supported`;
    throw unsupported(path, problem, tensor.at);
  }
  return { tensor, groups: Int32Array.from(index) };
}

// Plain loops over typed arrays: a model has a million of these numbers, and loads in milliseconds.
function groupsInOrder(columns: number, groupSize: number): Int32Array {
  const groups = new Int32Array(columns);
  for (let k = 0; k < columns; k++) groups[k] = Math.floor(k / groupSize);
  return groups;
}

const BLOCK = 32;

/** See {@link GptqParts.orderedColumns}. `groups` has the group of each input, of `count`. */
function orderedColumns(groups: Int32Array, count: number): number | undefined {
  const sizes = new Int32Array(count);
  let mixed = false;
  for (let k = 0; k < groups.length; k++) {
    const group = groups[k]!;
    sizes[group]!++;
    mixed ||= group !== groups[k - (k % BLOCK)];
  }
  if (!mixed) return undefined;
  return sizes.reduce((sum, size) => sum + Math.ceil(size / BLOCK) * BLOCK, 0);
}

function range({ file, offset, byteLength }: HfTensor): FileRange {
  return { file, offset, byteLength };
}
