/** Byte-pair encoding by ranked merges, as in Hugging Face `tokenizers` and GPT-2's family. */
import { BaseTokenizer } from '../base-tokenizer';
import { BpeEncoding } from './bpe-encoding';
import type { Decoder } from '../decoder';
import type { Literals } from '../literals';
import type { MergeTable } from './merge-table';
import type { Seams } from '../seams';
import type { Steps } from '../slices';
import type { WordSplit } from './split';
import type { SequenceTokens } from '../vocabulary';

/** Changes a section of text before it is cut into words. */
export type Normalizer = (section: string) => string;

export interface BpeModel {
  /** All pieces by id, as the file writes them; empty where there is none. */
  readonly pieces: readonly string[];
  /** Ids that are no text. */
  readonly control: ReadonlySet<number>;
  /** Pieces that text can become: a Map, so that `__proto__` is a piece like any other. */
  readonly ids: ReadonlyMap<string, number>;
  readonly merges: MergeTable;
  readonly alphabet: ByteAlphabet | CharacterAlphabet;
  /** Whether a word that is a piece becomes it at once, whatever the merges would make. */
  readonly ignoreMerges: boolean;
  /** Added tokens that are found in plain text as it is, and after it was normalized. */
  readonly literals: Literals | undefined;
  readonly normalizedLiterals: Literals | undefined;
  /** Applied to each section between literals. */
  readonly normalize: Normalizer | undefined;
  /** How many times shorter normalizing makes a text at most. */
  readonly shrinks: number;
  readonly words: WordSplit | undefined;
  readonly decoder: Decoder;
  readonly sequenceTokens: SequenceTokens;
}

/** Words are sequences of bytes. */
export interface ByteAlphabet {
  readonly kind: 'bytes';
  /** Id of each byte. Bytes that are UNMAPPED vanish, as they do in `tokenizers`. */
  readonly byteIds: Int32Array;
}

/** Words are sequences of characters. */
export interface CharacterAlphabet {
  readonly kind: 'characters';
  /** Ids of the 256 bytes, which characters without a piece become. */
  readonly byteIds: Int32Array | undefined;
  /** What characters without a piece become when there are no bytes. With neither they vanish. */
  readonly unknownId: number | undefined;
  /** Whether a run of such characters becomes one id. */
  readonly fuseUnknown: boolean;
  /** Where words may be cut. */
  readonly seams: Seams | undefined;
}

export const UNMAPPED = -1;

export class BpeTokenizer extends BaseTokenizer {
  protected readonly mostUnits: number;

  constructor(private readonly model: BpeModel) {
    super(model.pieces, model.sequenceTokens);
    this.mostUnits = mostUnitsOf(model);
  }

  isControl(id: number): boolean {
    return this.model.control.has(id);
  }

  protected encodeSteps(ids: number[], text: string): Steps {
    return new BpeEncoding(this.model, ids).encode(text);
  }

  protected decodeChecked(ids: readonly number[]): string {
    return this.model.decoder.text(ids);
  }

  protected bytesOf(id: number): Uint8Array {
    return this.model.decoder.bytes(id);
  }
}

/** UTF-16 units of a text that one id stands for at most; Infinity where text may vanish. */
function mostUnitsOf({ alphabet, ids, literals, normalizedLiterals, shrinks }: BpeModel): number {
  const { byteIds } = alphabet;
  if (byteIds === undefined || byteIds.includes(UNMAPPED)) return Infinity;
  let most = Math.max(1, literals?.longest ?? 0, normalizedLiterals?.longest ?? 0);
  for (const piece of ids.keys()) most = Math.max(most, piece.length);
  return most * shrinks;
}
