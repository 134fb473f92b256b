/** An adapter as the rest of the package sees it, whatever the files it came from. */
import type { FileRange, ModelShape, WeightRole } from '../files/checkpoint';
import type { TensorFormat } from '../files/formats';
import { isNorm, slots, type Slot } from '../files/weights';

/** A matrix of a file; a vector has one column. */
export interface AdapterTensor {
  /** In the file, for messages. */
  readonly name: string;
  readonly format: TensorFormat;
  readonly rows: number;
  readonly columns: number;
  readonly range: FileRange;
}

/** What an adapter adds to one weight: `scale * up * down`. */
export interface AdapterPair {
  readonly role: WeightRole;
  readonly layer: number;
  /** What the file's alpha comes to, over the rank or its root. */
  readonly scale: number;
  /** [rank][columns of the weight] */
  readonly down: AdapterTensor;
  /** [rows of the weight][rank] */
  readonly up: AdapterTensor;
  /** Of DoRA: [rows of the weight][1], the length that each row has in the end. */
  readonly magnitude?: AdapterTensor;
}

/** An adapter whose header has been read; its tensors stay in their file. */
export interface AdapterFile {
  readonly kind: 'peft' | 'gguf';
  /** Of the file that has the tensors. */
  readonly path: string;
  readonly byteLength: number;
  /** Which elements of a head its rows of queries and keys have side by side: see ModelShape. */
  readonly ropePairing: ModelShape['ropePairing'];
  readonly pairs: readonly AdapterPair[];
  /** The model that the file says it was made for. */
  readonly base?: string;
}

/** The weights that an adapter may have pairs for. */
export function adaptable(shape: ModelShape): Slot[] {
  return slots(shape).filter(({ role, layer }) => layer >= 0 && !isNorm(role));
}
