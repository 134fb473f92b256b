import { createGgufTokenizer } from './gguf';
import { SentencePieceTokenizer } from './sentencepiece/sentencepiece';
import { readSentencePiece } from './sentencepiece/model-file';
import type { BaseTokenizer } from './base-tokenizer';
import { createTokenizerJson } from './hugging-face/tokenizer-json';
import type { TokenizerSource } from '../files/tokenizer-source';

/**
 * Builds the tokenizer that a file describes.
 * @param rows of the model it is for: no text becomes an id that the model has no row for.
 *   @default Infinity
 * @throws TramontaneError INVALID_FILE if the file breaks its format's rules, UNSUPPORTED_FILE if
 *   it asks for what no tokenizer of the Mistral family does; the message names file and key
 */
export function createTokenizer(source: TokenizerSource, rows = Infinity): BaseTokenizer {
  switch (source.kind) {
    case 'gguf':
      return createGgufTokenizer(source, rows);
    case 'sentencepiece':
      return new SentencePieceTokenizer(readSentencePiece(source, rows));
    case 'tokenizer.json':
      return createTokenizerJson(source, rows);
  }
}
