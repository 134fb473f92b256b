import { setImmediate } from 'node:timers/promises';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { native, TokenKind, type NativeVocabulary } from './native';

const BYTE_PIECE = /^<0x[0-9A-Fa-f]{2}>$/;

/** Ids that are gathered before others have a turn: some milliseconds of them. */
const AT_ONCE = 4096;

/**
 * The tokenizer's tokens as matchers want them: arranged on another thread, once a model.
 * @param size the model's tokens, where it has others than the tokenizer
 */
export async function grammarVocabulary(
  tokenizer: Tokenizer,
  size = tokenizer.vocabularySize,
): Promise<NativeVocabulary> {
  const offsets = new Int32Array(size + 1);
  const kinds = new Uint8Array(size).fill(TokenKind.NONE);
  let bytes = new Uint8Array(16 * size);
  for (let id = 0, end = 0; id < size; ++id) {
    if (id % AT_ONCE === AT_ONCE - 1) await setImmediate();
    const piece = id < tokenizer.vocabularySize ? tokenizer.pieceOf(id) : undefined;
    // <unk> stands for what has no piece, which no grammar means.
    if (piece !== undefined && piece !== '<unk>' && !tokenizer.isControl(id)) {
      const text = tokenizer.tokenBytes(id);
      const isByte = text.length === 1 && BYTE_PIECE.test(piece);
      kinds[id] = isByte ? TokenKind.BYTE : TokenKind.TEXT;
      if (end + text.length > bytes.length) {
        const longer = new Uint8Array(2 * (end + text.length));
        longer.set(bytes);
        bytes = longer;
      }
      bytes.set(text, end);
      end += text.length;
    }
    offsets[id + 1] = end;
  }
  return native().buildVocabulary(bytes, offsets, kinds);
}
