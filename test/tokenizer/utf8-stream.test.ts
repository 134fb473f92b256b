import { BYTE_CHARACTERS } from '../../lib/tokenizer/byte-level/byte-level';
import { createTokenizer } from '../../lib/tokenizer/create';
import { TokenStream } from '../../lib/tokenizer/streaming/token-stream';
import { characterLength } from '../../lib/tokenizer/utf8';
import { Utf8Stream } from '../../lib/tokenizer/streaming/utf8-stream';
import { byteId, byteLevelSource, FIRST, ggufSource } from './builders';

/** What comes out for each chunk, then what the flush gives. */
function stream(...chunks: number[][]): string[] {
  const utf8 = new Utf8Stream();
  return [...chunks.map((chunk) => utf8.push(Uint8Array.from(chunk))), utf8.flush()];
}

test('a character is held back until its last byte', () => {
  expect(stream([0xf0], [0x9f], [0x98], [0x80])).toEqual(['', '', '', '😀', '']);
  expect(stream([0x61, 0xe4, 0xb8], [0xad, 0x62])).toEqual(['a', '中b', '']);
});

test('bytes that cannot become a character come out at once', () => {
  expect(stream([0x80], [0xff], [0xc0])).toEqual(['\ufffd', '\ufffd', '\ufffd', '']);
  expect(stream([0xe0], [0x80])).toEqual(['', '\ufffd\ufffd', '']);
  expect(stream([0xf4], [0x90])).toEqual(['', '\ufffd\ufffd', '']);
  expect(stream([0xf0, 0x9f], [0x41])).toEqual(['', '\ufffdA', '']);
});

test('what is left at the end is one U+FFFD, once', () => {
  expect(stream([0xf0, 0x9f, 0x98])).toEqual(['', '\ufffd']);
  const utf8 = new Utf8Stream();
  utf8.push(Uint8Array.of(0xe2));
  expect([utf8.flush(), utf8.flush(), utf8.push(Uint8Array.of(0x61))]).toEqual(['\ufffd', '', 'a']);
});

test('a byte order mark is a character like any other', () => {
  expect(stream([0xef, 0xbb], [0xbf, 0x61])).toEqual(['', '\ufeffa', '']);
});

test('the text does not depend on how the bytes are cut, and is what TextDecoder makes of them', () => {
  let state = 12345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  const starts = [0x41, 0xc3, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xff, 0x80, 0x9f, 0xa0, 0xbf];
  for (let run = 0; run < 2000; run++) {
    const bytes = Array.from({ length: random(12) }, () => starts[random(starts.length)]!);
    const chunks: number[][] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + random(4);
      chunks.push(bytes.slice(at, end));
      at = end;
    }
    const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
    expect({ bytes, text: stream(...chunks).join('') }).toEqual({ bytes, text: whole });
  }
});

test('a chunk may be changed by its owner after it was pushed', () => {
  const utf8 = new Utf8Stream();
  const chunk = Uint8Array.of(0xc3);
  utf8.push(chunk);
  chunk[0] = 0x41;
  expect(utf8.push(Uint8Array.of(0xa9))).toBe('é');
});

test.each([
  [[0x41], 1],
  [[0xc3, 0xa9], 2],
  [[0xe4, 0xb8, 0xad], 3],
  [[0xf0, 0x9f, 0x98, 0x80, 0x41], 4],
  [[0xe4, 0xb8], -1],
  [[0x80], 0],
  [[0xc1, 0x80], 0],
  [[0xe0, 0x9f, 0x80], 0],
  [[0xed, 0xa0, 0x80], 0],
  [[0xf4, 0x90, 0x80, 0x80], 0],
  [[0xf5, 0x80, 0x80, 0x80], 0],
  [[0xe4, 0x41], 0],
])('characterLength of %j is %i', (bytes, length) => {
  expect(characterLength(bytes, 0)).toBe(length);
});

describe('TokenStream', () => {
  const tokenizer = createTokenizer(ggufSource([{ piece: '▁a' }, { piece: '▁' }, { piece: '▁▁' }]));
  const texts = (ids: number[], options?: { atStart: boolean }): string[] => {
    const tokens = new TokenStream(tokenizer, options);
    return ids.map((id) => tokens.push(id));
  };

  test('drops the dummy space at the start only', () => {
    expect(texts([FIRST, FIRST])).toEqual(['a', ' a']);
    expect(texts([FIRST + 1, FIRST])).toEqual(['', ' a']);
    expect(texts([FIRST + 2])).toEqual([' ']);
    expect(texts([1, FIRST])).toEqual(['', 'a']);
  });

  test('drops none where the ids go on with a text', () => {
    expect(texts([FIRST], { atStart: false })).toEqual([' a']);
  });

  test('drops none of a byte or an unknown token', () => {
    expect(texts([byteId(0x20), FIRST])).toEqual([' ', ' a']);
    expect(texts([0, FIRST])).toEqual([' \u2047 ', ' a']);
    expect(texts([byteId(0xe2)])).toEqual(['']);
  });

  test('looks past a control token inside a character, where SentencePiece counts bytes', () => {
    const ids = [byteId(0xe2), 2, byteId(0x98), byteId(0xba)];
    expect(texts(ids)).toEqual(['', '', '', '☺']);
    expect(tokenizer.decode(ids)).toBe('\ufffd\ufffd\ufffd');
  });

  test('of byte-level BPE has the text that decode() gives', () => {
    const bytes = createTokenizer(byteLevelSource([]));
    const ids = [0xe2, 0x98, 0xba, 0xf0, 0x9f, 0x41].map((byte) => {
      return bytes.idOf(BYTE_CHARACTERS[byte]!)!;
    });
    ids.splice(1, 0, 0);
    const tokens = new TokenStream(bytes);
    const text = ids.map((id) => tokens.push(id)).join('') + tokens.flush();
    expect(text).toBe('☺\ufffdA');
    expect(bytes.decode(ids)).toBe(text);
  });
});
