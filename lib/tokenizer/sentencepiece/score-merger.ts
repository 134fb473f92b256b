import { KEPT_NODES, NEVER, PairMerger } from '../pair-merger';
import type { ScoredVocabulary } from './scored-vocabulary';
import { Seams } from '../seams';
import { PieceType } from '../vocabulary';

/** Merges the characters of a text by the scores of the pieces they make, highest first. */
export class ScoreMerger extends PairMerger {
  private text = '';
  /** Where each node starts in the text; a node ends where the next one starts. */
  private starts = new Int32Array(0);
  /** Piece of each node, and of it and the next node together; NONE for no piece. */
  private nodeIds = new Int32Array(0);
  private pairIds = new Int32Array(0);
  /** Unused pieces that pairs made, and the length of the left one of the pair. */
  private readonly unused = new Map<string, number>();
  /** None where unused pieces are: how one is taken apart may depend on text far away. */
  private readonly seams: Seams | undefined;

  constructor(private readonly vocabulary: ScoredVocabulary) {
    super();
    this.seams = vocabulary.hasUnused ? undefined : new Seams(vocabulary.ids.keys());
  }

  encode(ids: number[], text: string): void {
    this.text = text;
    for (let start = 0; start < text.length;) {
      const end = this.seams?.endOfPart(text, start) ?? text.length;
      this.encodePart(ids, start, end);
      start = end;
    }
    this.text = '';
    this.unused.clear();
    this.release();
  }

  private encodePart(ids: number[], start: number, end: number): void {
    const count = this.placeNodes(start, end);
    this.merge(count);
    for (let node = 0; node < count; node = this.next[node]!) {
      const id = this.nodeIds[node]!;
      const from = this.starts[node]!;
      const to = this.starts[this.next[node]!]!;
      if (id === NONE) this.emitUnknown(ids, this.text.slice(from, to));
      else if (this.vocabulary.model.types[id] !== PieceType.UNUSED) ids.push(id);
      else this.takeApart(ids, this.text.slice(from, to));
    }
  }

  protected priority(left: number, right: number): number {
    const start = this.starts[left]!;
    const end = this.starts[this.next[right]!]!;
    const { ids, longest, hasUnused, model } = this.vocabulary;
    if (end - start > longest) return NEVER;
    const piece = this.text.slice(start, end);
    const id = ids.get(piece);
    if (id === undefined) return NEVER;
    if (hasUnused && model.types[id] === PieceType.UNUSED) {
      this.unused.set(piece, this.starts[right]! - start);
    }
    this.pairIds[left] = id;
    return -model.scores[id]!;
  }

  protected join(left: number): void {
    this.nodeIds[left] = this.pairIds[left]!;
  }

  protected override release(): void {
    super.release();
    if (this.starts.length > KEPT_NODES + 1) this.reserveNodes(KEPT_NODES);
  }

  /** One node a character; gives their number. */
  private placeNodes(start: number, end: number): number {
    const { text, vocabulary } = this;
    if (this.starts.length <= end - start) this.reserveNodes(Math.max(KEPT_NODES, end - start));
    let count = 0;
    for (let at = start; at < end; count++) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      this.starts[count] = at;
      this.nodeIds[count] = vocabulary.ids.get(character) ?? NONE;
      at += character.length;
    }
    this.starts[count] = end;
    return count;
  }

  private reserveNodes(count: number): void {
    this.starts = new Int32Array(count + 1);
    this.nodeIds = new Int32Array(count);
    this.pairIds = new Int32Array(count);
  }

  /** An unused piece becomes what it was merged from, and so on. */
  private takeApart(ids: number[], piece: string): void {
    const waiting = [piece];
    for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
      const id = this.vocabulary.ids.get(part);
      const leftLength = this.unused.get(part);
      if (leftLength !== undefined) waiting.push(part.slice(leftLength), part.slice(0, leftLength));
      else if (id === undefined) this.emitUnknown(ids, part);
      else ids.push(id);
    }
  }

  private emitUnknown(ids: number[], character: string): void {
    const { byteIds, unknownId } = this.vocabulary;
    if (byteIds !== undefined) {
      const code = character.charCodeAt(0);
      if (code < 0x80) ids.push(byteIds[code]!);
      else for (const byte of encoder.encode(character)) ids.push(byteIds[byte]!);
    } else if (unknownId !== undefined && ids.at(-1) !== unknownId) {
      ids.push(unknownId);
    }
  }
}

const NONE = -1;

const encoder = new TextEncoder();
