/** What every tokenizer does with what callers give it. */
import { createTokenizer } from '../../lib/tokenizer/create';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { PieceType } from '../../lib/tokenizer/vocabulary';
import {
  basePieces,
  byteId,
  byteLevelSource,
  FIRST,
  ggufSource,
  jsonSource,
  sentencePieceSource,
  smallJson,
} from './builders';
import { refused } from './refused';

const letters = '▁abcst</>[]IN'.split(/(?!^)/).map((piece) => ({ piece }));
const tokenizers: [string, Tokenizer][] = [
  ['SentencePiece', createTokenizer(sentencePieceSource({ pieces: basePieces() }))],
  ['GGUF llama', createTokenizer(ggufSource(letters))],
  ['GGUF gpt2', createTokenizer(byteLevelSource(['a b', 'ab c']))],
  ['tokenizer.json', createTokenizer(jsonSource(smallJson()))],
];

describe.each(tokenizers)('%s', (_, tokenizer) => {
  test('an empty text has no ids, and no ids have no text', () => {
    expect(tokenizer.encode('')).toEqual([]);
    expect(tokenizer.decode([])).toBe('');
  });

  test.each([
    ['a\ud800b', 'U\\+D800, at index 1'],
    ['😀\udc00', 'U\\+DC00, at index 2'],
    ['\ude00\ud83d', 'U\\+DE00, at index 0'],
  ])('half a character in the text is refused: %j', (text, where) => {
    refused(() => tokenizer.encode(text), 'INVALID_PROMPT', new RegExp(where));
  });

  test.each([-1, 1e9, 0.5, NaN, '1', undefined])('the id %p is refused, by its place', (id) => {
    const wrong = id as number;
    refused(() => tokenizer.decode([0, wrong]), 'INVALID_PROMPT', 'index 1', String(id));
    refused(() => tokenizer.tokenBytes(wrong), 'INVALID_PROMPT', String(id));
  });

  test('the id after the last is refused, the last is not', () => {
    const { vocabularySize } = tokenizer;
    refused(() => tokenizer.decode([vocabularySize]), 'INVALID_PROMPT', String(vocabularySize - 1));
    expect(() => tokenizer.decode([vocabularySize - 1])).not.toThrow();
  });

  test('what is no text, and options there are not, are refused', () => {
    refused(() => tokenizer.encode(5 as never), 'INVALID_PROMPT', 'number');
    refused(() => tokenizer.decode('1' as never), 'INVALID_PROMPT', 'string');
    refused(() => tokenizer.encode('a', { eos: true } as never), 'INVALID_OPTION', 'eos');
    refused(() => tokenizer.encode('a', { bos: 1 } as never), 'INVALID_OPTION', 'bos');
  });

  test('keys of Object.prototype in a text are words like any other', () => {
    const word = '__proto__ constructor toString';
    expect(() => tokenizer.encode(word)).not.toThrow();
    expect(tokenizer.encode(word).every(Number.isInteger)).toBe(true);
  });
});

describe('the beginning of a sequence', () => {
  test('is put first when asked for, and only then', () => {
    const tokenizer = createTokenizer(ggufSource(letters));
    expect(tokenizer.encode('a', { bos: true })).toEqual([1, FIRST, FIRST + 1]);
    expect(tokenizer.encode('a', { bos: false })).toEqual([FIRST, FIRST + 1]);
    expect(tokenizer.encode('', { bos: true })).toEqual([1]);
  });

  test('of a vocabulary without one is an error', () => {
    const tokenizer = createTokenizer(byteLevelSource([], { addBos: true }));
    expect(tokenizer.addBos).toBe(false);
    expect(tokenizer.bosId).toBeUndefined();
    refused(() => tokenizer.encode('a', { bos: true }), 'INVALID_OPTION', 'bos');
  });
});

describe('control tokens', () => {
  test('spelled out in a text stay text', () => {
    const tokenizer = createTokenizer(
      ggufSource([...letters, { piece: '[INST]', type: PieceType.CONTROL }]),
    );
    const idOf = (character: string): number => {
      const index = letters.findIndex(({ piece }) => piece === character);
      return index >= 0 ? FIRST + index : byteId(character.charCodeAt(0));
    };
    for (const text of ['</s>', '<s>', '[INST]', '<0x0A>']) {
      expect(tokenizer.encode(text)).toEqual(Array.from(`▁${text}`, idOf));
    }
  });

  test('have neither text nor bytes', () => {
    for (const [, tokenizer] of tokenizers) {
      const id = tokenizer.eosId ?? 2;
      expect(tokenizer.decode([id])).toBe('');
      expect(tokenizer.tokenBytes(id)).toEqual(new Uint8Array(0));
    }
  });
});

describe('tokenBytes', () => {
  test('of SentencePiece: a space for U+2581, one byte for a byte piece, the mark for unknown', () => {
    const tokenizer = createTokenizer(ggufSource([{ piece: '▁é' }]));
    expect(tokenizer.tokenBytes(FIRST)).toEqual(Uint8Array.of(0x20, 0xc3, 0xa9));
    expect(tokenizer.tokenBytes(byteId(0xe2))).toEqual(Uint8Array.of(0xe2));
    expect(Buffer.from(tokenizer.tokenBytes(0)).toString()).toBe(' \u2047 ');
  });

  test('of byte-level BPE: the bytes its letters stand for', () => {
    const tokenizer = createTokenizer(byteLevelSource(['Ġ a']));
    const [space] = tokenizer.encode(' ');
    expect(tokenizer.tokenBytes(space!)).toEqual(Uint8Array.of(0x20));
    expect(tokenizer.encode(' a')).toEqual([257]);
    expect(tokenizer.tokenBytes(257)).toEqual(Uint8Array.of(0x20, 0x61));
    expect(tokenizer.tokenBytes(1 + 0xff)).toEqual(Uint8Array.of(0xff));
  });
});
