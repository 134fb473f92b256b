/** Byte-pair encoding by ranked merges, as in Hugging Face `tokenizers` and GPT-2's family. */
import { BaseTokenizer } from '../base-tokenizer';
import { pieceOfBytes } from './byte-level';
import type { Decoder } from '../decoder';
import type { Literals } from '../literals';
import type { MergeTable } from './merge-table';
import { RankedMerger } from './ranked-merger';
import type { Seams } from '../seams';
import type { SequenceTokens } from '../vocabulary';

/** Changes a section of text before it is cut into words. */
export type Normalizer = (section: string) => string;

/** Cuts a section of text into words; `first` says whether it is the beginning of the whole text. */
export type WordSplit = (section: string, first: boolean) => string[];

export interface BpeModel {
  readonly vocabularySize: number;
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
  readonly vocabularySize: number;
  private readonly merger: RankedMerger;
  private readonly utf8 = new TextEncoder();
  private bytes = new Uint8Array(256);

  constructor(private readonly model: BpeModel) {
    super(model.sequenceTokens);
    this.vocabularySize = model.vocabularySize;
    this.merger = new RankedMerger(model.merges);
  }

  protected encodeInto(ids: number[], text: string): void {
    const { literals } = this.model;
    if (literals === undefined) this.encodeRaw(ids, text, true);
    else {
      literals.cut(
        text,
        (between, at) => {
          this.encodeRaw(ids, between, at === 0);
        },
        (id) => ids.push(id),
      );
    }
    this.merger.release();
  }

  protected decodeChecked(ids: readonly number[]): string {
    return this.model.decoder.text(ids);
  }

  protected bytesOf(id: number): Uint8Array {
    return this.model.decoder.bytes(id);
  }

  private encodeRaw(ids: number[], section: string, first: boolean): void {
    if (section === '') return;
    const { normalize, normalizedLiterals } = this.model;
    const normalized = normalize?.(section) ?? section;
    if (normalizedLiterals === undefined) this.encodeSection(ids, normalized, first);
    else {
      normalizedLiterals.cut(
        normalized,
        (between, at) => {
          this.encodeSection(ids, between, first && at === 0);
        },
        (id) => ids.push(id),
      );
    }
  }

  private encodeSection(ids: number[], section: string, first: boolean): void {
    const words = this.model.words?.(section, first) ?? [section];
    const { alphabet } = this.model;
    for (const word of words) {
      if (alphabet.kind === 'bytes') this.encodeBytes(ids, word, alphabet.byteIds);
      else this.encodeCharacters(ids, word, alphabet);
    }
  }

  private encodeBytes(ids: number[], word: string, byteIds: Int32Array): void {
    const bytes = this.utf8Of(word);
    if (this.model.ignoreMerges) {
      const whole = this.model.ids.get(pieceOfBytes(bytes));
      if (whole !== undefined) {
        ids.push(whole);
        return;
      }
    }
    for (let i = 0; i < bytes.length; i++) {
      const id = byteIds[bytes[i]!]!;
      if (id !== UNMAPPED) this.merger.push(id);
    }
    this.merger.finish(ids);
  }

  private encodeCharacters(ids: number[], word: string, alphabet: CharacterAlphabet): void {
    const whole = this.model.ignoreMerges ? this.model.ids.get(word) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    for (let start = 0; start < word.length;) {
      const end = alphabet.seams?.endOfPart(word, start) ?? word.length;
      this.pushCharacters(word, start, end, alphabet);
      this.merger.finish(ids);
      start = end;
    }
  }

  private pushCharacters(
    text: string,
    start: number,
    end: number,
    { byteIds, unknownId, fuseUnknown }: CharacterAlphabet,
  ): void {
    let afterUnknown = false;
    for (let at = start; at < end;) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      at += character.length;
      const id = this.model.ids.get(character);
      const isUnknown = id === undefined && byteIds === undefined;
      if (id !== undefined) this.merger.push(id);
      else if (byteIds !== undefined) {
        for (const byte of this.utf8Of(character)) this.merger.push(byteIds[byte]!);
      } else if (unknownId !== undefined && !(afterUnknown && fuseUnknown)) {
        this.merger.push(unknownId);
      }
      afterUnknown = isUnknown;
    }
  }

  /** The UTF-8 form of a text, until the next call. */
  private utf8Of(text: string): Uint8Array {
    // A UTF-16 unit takes three bytes at most.
    if (this.bytes.length < 3 * text.length) this.bytes = new Uint8Array(3 * text.length);
    const { written } = this.utf8.encodeInto(text, this.bytes);
    return this.bytes.subarray(0, written);
  }
}
