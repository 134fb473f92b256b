import { pieceOfBytes } from './byte-level';
import { UNMAPPED, type BpeModel, type CharacterAlphabet } from './bpe';
import { RankedMerger } from './ranked-merger';
import { cutAt } from '../literals';
import { STEPS, type Steps } from '../slices';

/** The encoding of one text: its working memory, and the ids so far. */
export class BpeEncoding {
  private readonly merger: RankedMerger;
  private bytes = new Uint8Array(256);
  /** Whether the part that is being merged has a character without a piece at its end. */
  private afterUnknown = false;

  constructor(
    private readonly model: BpeModel,
    private readonly ids: number[],
  ) {
    this.merger = new RankedMerger(model.merges, ids);
  }

  /** Adds the ids of the text. */
  *encode(text: string): Steps {
    for (const part of cutAt(this.model.literals, text)) {
      if (part === undefined) yield;
      else if (part.id !== undefined) this.ids.push(part.id);
      else yield* this.encodeRaw(part.text, part.at === 0);
    }
  }

  private *encodeRaw(section: string, first: boolean): Steps {
    if (section === '') return;
    const { normalize, normalizedLiterals } = this.model;
    const normalized = normalize?.(section) ?? section;
    for (const part of cutAt(normalizedLiterals, normalized)) {
      if (part === undefined) yield;
      else if (part.id !== undefined) this.ids.push(part.id);
      else yield* this.encodeSection(part.text, first && part.at === 0);
    }
  }

  private *encodeSection(section: string, first: boolean): Steps {
    const { merger, ids } = this;
    const { alphabet } = this.model;
    const seams = alphabet.kind === 'characters' ? alphabet.seams : undefined;
    let pause = STEPS;
    for (const word of this.model.words?.(section, first) ?? [section]) {
      if ((pause -= word.length) < 0) {
        pause = STEPS;
        yield;
      }
      const whole = this.model.ignoreMerges ? this.pieceOf(word) : undefined;
      if (whole !== undefined) {
        ids.push(whole);
        continue;
      }
      for (let start = 0; start < word.length;) {
        const end = seams?.endOfPart(word, start) ?? word.length;
        this.afterUnknown = false;
        while (start < end) {
          const stop = endOfBlock(word, start, end);
          this.push(word, start, stop);
          start = stop;
          if (start < end) yield;
        }
        merger.start();
        while (!merger.finish()) yield;
      }
    }
  }

  /** The id of a word that is a piece as a whole. */
  private pieceOf(word: string): number | undefined {
    const { alphabet, ids } = this.model;
    return ids.get(alphabet.kind === 'bytes' ? pieceOfBytes(this.utf8Of(word)) : word);
  }

  /** Gives the merger the symbols of a part of a word. */
  private push(word: string, start: number, end: number): void {
    const { alphabet } = this.model;
    if (alphabet.kind === 'characters') {
      this.pushCharacters(word, start, end, alphabet);
      return;
    }
    const { byteIds } = alphabet;
    const bytes = this.utf8Of(word.slice(start, end));
    for (let i = 0; i < bytes.length; i++) {
      const id = byteIds[bytes[i]!]!;
      if (id !== UNMAPPED) this.merger.push(id);
    }
  }

  private pushCharacters(
    word: string,
    start: number,
    end: number,
    { byteIds, unknownId, fuseUnknown }: CharacterAlphabet,
  ): void {
    const { ids } = this.model;
    let { afterUnknown } = this;
    for (let at = start; at < end;) {
      const character = String.fromCodePoint(word.codePointAt(at)!);
      at += character.length;
      const id = ids.get(character);
      const isUnknown = id === undefined && byteIds === undefined;
      if (id !== undefined) this.merger.push(id);
      else if (byteIds !== undefined) {
        for (const byte of this.utf8Of(character)) this.merger.push(byteIds[byte]!);
      } else if (unknownId !== undefined && !(afterUnknown && fuseUnknown)) {
        this.merger.push(unknownId);
      }
      afterUnknown = isUnknown;
    }
    this.afterUnknown = afterUnknown;
  }

  /** The UTF-8 form of a text, until the next call. */
  private utf8Of(text: string): Uint8Array {
    // A UTF-16 unit takes three bytes at most.
    if (this.bytes.length < 3 * text.length) this.bytes = new Uint8Array(3 * text.length);
    const { written } = encoder.encodeInto(text, this.bytes);
    return this.bytes.subarray(0, written);
  }
}

const encoder = new TextEncoder();

/** Where to pause in a long text: not between the halves of a character. */
function endOfBlock(text: string, start: number, end: number): number {
  if (end - start <= STEPS) return end;
  const isLowSurrogate = (text.charCodeAt(start + STEPS) & 0xfc00) === 0xdc00;
  return start + STEPS + (isLowSurrogate ? 1 : 0);
}
