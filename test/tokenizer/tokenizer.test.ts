/** What every tokenizer does with what callers give it. */
import { createTokenizer } from '../../lib/tokenizer/create';
import type { BaseTokenizer } from '../../lib/tokenizer/base-tokenizer';
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
const tokenizers: [string, BaseTokenizer][] = [
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

  test.each([-1, 2 ** 31, 0.5, NaN, '1', 1n, Symbol('1'), {}, undefined])(
    'the id %p is refused, by its place',
    (id) => {
      const wrong = id as number;
      refused(() => tokenizer.decode([0, wrong]), 'INVALID_PROMPT', 'index 1');
      refused(() => tokenizer.tokenBytes(wrong), 'INVALID_PROMPT', 'id is');
    },
  );

  test('ids after the last have no piece and no text, as rows of padding have none', () => {
    const { vocabularySize } = tokenizer;
    const [id] = tokenizer.encode('a');
    for (const missing of [vocabularySize, vocabularySize + 1, 2 ** 31 - 1]) {
      expect(tokenizer.pieceOf(missing)).toBeUndefined();
      expect(tokenizer.isControl(missing)).toBe(false);
      expect(tokenizer.tokenBytes(missing)).toEqual(new Uint8Array(0));
      expect(tokenizer.decode([missing, id!, missing])).toBe(tokenizer.decode([id!]));
    }
    expect(tokenizer.pieceOf(vocabularySize - 1)).toBeDefined();
    expect(tokenizer.missingIds(vocabularySize)).toEqual(new Int32Array(0));
    expect(tokenizer.missingIds(vocabularySize + 2)).toEqual(
      Int32Array.of(vocabularySize, vocabularySize + 1),
    );
  });

  test('typed arrays of ids are decoded; bytes are not taken for ids', () => {
    const ids = tokenizer.encode('abc');
    expect(tokenizer.decode(Int32Array.from(ids))).toBe(tokenizer.decode(ids));
    expect(tokenizer.decode(Uint16Array.from(ids))).toBe(tokenizer.decode(ids));
    for (const wrong of [Buffer.from('abc'), new DataView(new ArrayBuffer(8)), { length: 1 }]) {
      refused(() => tokenizer.decode(wrong as never), 'INVALID_PROMPT', 'an array of integers');
    }
    refused(() => tokenizer.decode(BigInt64Array.of(1n) as never), 'INVALID_PROMPT', 'integers');
  });

  test('every piece has the id it is at', () => {
    for (let id = 0; id < tokenizer.vocabularySize; id++) {
      expect(tokenizer.idOf(tokenizer.pieceOf(id)!)).toBe(id);
    }
    for (const missing of ['', 'no such piece', '__proto__', 5 as never]) {
      expect(tokenizer.idOf(missing)).toBeUndefined();
    }
    for (const missing of [-1, 0.5, NaN, '0' as never, Symbol('0') as never]) {
      expect(tokenizer.pieceOf(missing)).toBeUndefined();
      expect(tokenizer.isControl(missing)).toBe(false);
    }
  });

  test.each(['', 'a', 'abc'.repeat(100), 'a b c '.repeat(50), '😀中é', '[INST]</s>'])(
    'the fewest tokens a text may have are no more than it has: %j',
    (text) => {
      const fewest = tokenizer.fewestTokens(text);
      expect(fewest).toBeLessThanOrEqual(tokenizer.encode(text).length);
      expect(fewest).toBeGreaterThanOrEqual(0);
    },
  );

  test('what is no text, and options there are not, are refused', () => {
    refused(() => tokenizer.encode(5 as never), 'INVALID_PROMPT', 'number');
    refused(() => tokenizer.decode('1' as never), 'INVALID_PROMPT', 'string');
    refused(() => tokenizer.encode('a', { eos: true } as never), 'INVALID_OPTION', 'eos');
    refused(() => tokenizer.encode('a', null as never), 'INVALID_OPTION', 'options');
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

  test('have a name, and neither text nor bytes', () => {
    for (const [, tokenizer] of tokenizers) {
      const id = tokenizer.eosId ?? 2;
      expect(tokenizer.isControl(id)).toBe(true);
      expect(tokenizer.idOf(id === 2 ? '</s>' : '<eos>')).toBe(id);
      expect(tokenizer.isControl(tokenizer.encode('a').at(-1)!)).toBe(false);
      expect(tokenizer.decode([id])).toBe('');
      expect(tokenizer.tokenBytes(id)).toEqual(new Uint8Array(0));
    }
  });
});

describe('the fewest tokens a text may have', () => {
  test('are its length over the longest piece', () => {
    const pieces = createTokenizer(ggufSource([{ piece: '▁' }, { piece: 'abcd' }]));
    // The byte pieces are six units long as they are written, but stand for one byte.
    expect(pieces.fewestTokens('x'.repeat(400))).toBe(100);
    const bytes = createTokenizer(byteLevelSource(['a b', 'ab c']));
    expect(bytes.fewestTokens('x'.repeat(400))).toBe(134);
  });

  test('are those of added tokens, where these are longer', () => {
    const json = smallJson();
    json.model['unk_token'] = undefined;
    json.model['byte_fallback'] = true;
    for (let byte = 0; byte < 256; byte++) {
      const piece = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
      json.model.vocab[piece] = 9 + byte;
    }
    const token = '<an added token>';
    json.added_tokens.push({ id: 265, content: token, normalized: false });
    const tokenizer = createTokenizer(jsonSource(json));
    expect(tokenizer.encode(token.repeat(10))).toEqual(new Array(10).fill(265));
    expect(tokenizer.fewestTokens(token.repeat(10))).toBe(10);
  });

  test('are none where characters may vanish, or a normalizer may delete them', () => {
    const bytes = byteLevelSource([]);
    const ascii = { pieces: bytes.pieces.slice(0, 100), types: bytes.types!.slice(0, 100) };
    const tokenizer = createTokenizer({ ...bytes, ...ascii });
    expect(tokenizer.encode('中'.repeat(100))).toEqual([]);
    expect(tokenizer.fewestTokens('中'.repeat(100))).toBe(0);
    expect(createTokenizer(jsonSource(smallJson())).fewestTokens('中'.repeat(100))).toBe(0);
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
