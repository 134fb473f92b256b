/**
 * As much of the protocol buffers wire format (https://protobuf.dev/programming-guides/encoding)
 * as tokenizer.model needs. Never reads outside the message, whatever the lengths say.
 */
import { isUtf8 } from 'node:buffer';
import { invalid } from '../../files/problems';

/** Wire types. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/**
 * Walks the fields of one message: after {@link next}, read the value with the method for its type
 * or {@link skip} it.
 */
export class ProtobufReader {
  /** Number and wire type of the current field. */
  field = 0;
  wireType = 0;
  private position: number;

  constructor(
    private readonly path: string,
    private readonly bytes: Buffer,
    start = 0,
    private readonly end = bytes.length,
  ) {
    this.position = start;
  }

  /** Goes to the next field; false at the end of the message. */
  next(): boolean {
    if (this.position === this.end) return false;
    const key = this.varint();
    this.field = Math.floor(key / 8);
    this.wireType = key % 8;
    return true;
  }

  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.longVarint();
        return;
      case FIXED64:
        this.take(8);
        return;
      case BYTES:
        this.take(this.varint());
        return;
      case FIXED32:
        this.take(4);
        return;
      default:
        throw this.problem(`field ${this.field} has the unknown wire type ${this.wireType}`);
    }
  }

  /** An int32 or enum: negative ones are written as if they had 64 bits. */
  int32(): number {
    this.expect(VARINT);
    return Number(BigInt.asIntN(32, this.longVarint()));
  }

  boolean(): boolean {
    this.expect(VARINT);
    return this.longVarint() !== 0n;
  }

  float(): number {
    this.expect(FIXED32);
    return this.bytes.readFloatLE(this.take(4));
  }

  string(): string {
    this.expect(BYTES);
    const length = this.varint();
    const start = this.take(length);
    const text = this.bytes.toString('utf8', start, start + length);
    if (text.includes('\ufffd') && !isUtf8(this.bytes.subarray(start, start + length))) {
      throw this.problem(`the string of field ${this.field} is not UTF-8`, start);
    }
    return text;
  }

  /** Length of a field of bytes, which is stepped over. */
  byteLength(): number {
    this.expect(BYTES);
    const length = this.varint();
    this.take(length);
    return length;
  }

  /** A reader of the message in the current field. */
  message(): ProtobufReader {
    this.expect(BYTES);
    const length = this.varint();
    const start = this.take(length);
    return new ProtobufReader(this.path, this.bytes, start, start + length);
  }

  private expect(wireType: number): void {
    if (this.wireType === wireType) return;
    throw this.problem(`field ${this.field} has wire type ${this.wireType}, not ${wireType}`);
  }

  /** Steps over `length` bytes; gives where they start. */
  private take(length: number): number {
    const start = this.position;
    if (length > this.end - start) {
      throw this.problem(`field ${this.field} is longer than the message it is in`);
    }
    this.position = start + length;
    return start;
  }

  /** A number below 2^53; lengths and keys are. */
  private varint(): number {
    const first = this.position < this.end ? this.bytes[this.position]! : 0x80;
    if (first < 0x80) {
      this.position++;
      return first;
    }
    const value = this.longVarint();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.problem('a number is too large');
    return Number(value);
  }

  private longVarint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.position === this.end) throw this.problem('ends in the middle of a number');
      const byte = this.bytes[this.position++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw this.problem('a number has more than 10 bytes');
  }

  private problem(what: string, at = this.position): Error {
    return invalid(this.path, `not a SentencePiece model: ${what}`, at);
  }
}
