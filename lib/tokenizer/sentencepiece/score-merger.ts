import { grown, NEVER, PairMerger } from '../pair-merger';
import type { ScoredVocabulary } from './scored-vocabulary';
import { STEPS, type Steps } from '../slices';
import { PieceType } from '../vocabulary';

/** Merges the characters of a text by the scores of the pieces they make, highest first. */
export class ScoreMerger extends PairMerger {
  private text = '';
  /** The part of the text that is being merged: how far it has become nodes, and where it ends. */
  private at = 0;
  private end = 0;
  private placed = 0;
  /** The node whose ids are added next. */
  private emitted = 0;
  /** Where each node starts in the text; a node ends where the next one starts. */
  private starts = new Int32Array(0);
  /** Piece of each node, and of it and the next node together; NONE for no piece. */
  private nodeIds = new Int32Array(0);
  private pairIds = new Int32Array(0);
  /** Unused pieces that pairs made, and the length of the left one of the pair. */
  private readonly unused = new Map<string, number>();

  constructor(
    private readonly vocabulary: ScoredVocabulary,
    private readonly ids: number[],
  ) {
    super();
  }

  /** Adds the ids of a text. */
  *encode(text: string): Steps {
    const { seams } = this.vocabulary;
    this.text = text;
    let pause = STEPS;
    for (let start = 0; start < text.length; start = this.end) {
      this.beginPart(start, seams?.endOfPart(text, start) ?? text.length);
      while (!this.place()) yield;
      this.begin(this.placed);
      while (!this.merge()) yield;
      while (!this.emit()) yield;
      if (this.end < pause) continue;
      pause = this.end + STEPS;
      yield;
    }
    this.unused.clear();
  }

  private beginPart(start: number, end: number): void {
    this.at = start;
    this.end = end;
    this.placed = 0;
    this.emitted = 0;
    if (this.starts.length > end - start) return;
    const length = grown(end - start + 1);
    this.starts = new Int32Array(length);
    this.nodeIds = new Int32Array(length);
    this.pairIds = new Int32Array(length);
  }

  /** Makes a node of each character; true once all are there. */
  private place(): boolean {
    const { text, end, starts, nodeIds } = this;
    const { ids } = this.vocabulary;
    const stop = this.placed + STEPS;
    for (; this.at < end; this.placed++) {
      if (this.placed === stop) return false;
      const character = String.fromCodePoint(text.codePointAt(this.at)!);
      starts[this.placed] = this.at;
      nodeIds[this.placed] = ids.get(character) ?? NONE;
      this.at += character.length;
    }
    starts[this.placed] = end;
    return true;
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

  /** Adds the ids of the nodes that are left; true once all are there. */
  private emit(): boolean {
    const { text, next, nodeIds, starts, count } = this;
    const { types } = this.vocabulary.model;
    for (let steps = 0; this.emitted < count; steps++) {
      if (steps === STEPS) return false;
      const node = this.emitted;
      this.emitted = next[node]!;
      const id = nodeIds[node]!;
      const [from, to] = [starts[node]!, starts[this.emitted]!];
      if (id === NONE) this.emitUnknown(text.slice(from, to));
      else if (types[id] !== PieceType.UNUSED) this.ids.push(id);
      else this.takeApart(text.slice(from, to));
    }
    return true;
  }

  /** An unused piece becomes what it was merged from, and so on. */
  private takeApart(piece: string): void {
    const waiting = [piece];
    for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
      const id = this.vocabulary.ids.get(part);
      const leftLength = this.unused.get(part);
      if (leftLength !== undefined) waiting.push(part.slice(leftLength), part.slice(0, leftLength));
      else if (id === undefined) this.emitUnknown(part);
      else this.ids.push(id);
    }
  }

  private emitUnknown(character: string): void {
    const { ids } = this;
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
