import type { JsonFile } from '../../lib/files/json';
import type { BaseTokenizer } from '../../lib/tokenizer/base-tokenizer';
import { createTokenizer } from '../../lib/tokenizer/create';
import { PieceType } from '../../lib/tokenizer/vocabulary';
import {
  basePieces,
  byteId,
  bytesField,
  configFile,
  FIRST,
  ggufSource,
  sentencePieceSource,
  type Piece,
  type SentencePieceSpec,
  varint,
} from './builders';
import { refused } from './refused';

/** Ids of pieces given after the base ones, by name. */
function setUp(extra: readonly Piece[]) {
  const tokenizer = createTokenizer(ggufSource(extra));
  const id = (piece: string): number => FIRST + extra.findIndex((one) => one.piece === piece);
  return { tokenizer, id };
}

describe('merging', () => {
  test('makes the last of pieces that are the same, as in files that repeat one', () => {
    const { tokenizer } = setUp([{ piece: '▁a' }, { piece: '▁' }, { piece: 'a' }, { piece: '▁a' }]);
    expect(tokenizer.encode('a')).toEqual([FIRST + 3]);
    expect(tokenizer.idOf('▁a')).toBe(FIRST + 3);
    expect(tokenizer.decode([FIRST])).toBe('a');
  });

  const singles = ['▁', 'a', 'b', 'c', 'd'].map((piece) => ({ piece }));

  test('takes the highest score first, wherever it is', () => {
    const { tokenizer, id } = setUp([
      ...singles,
      { piece: 'ab', score: -2 },
      { piece: 'bc', score: -1 },
      { piece: 'cd', score: -3 },
    ]);
    expect(tokenizer.encode('abcd')).toEqual(['▁', 'a', 'bc', 'd'].map(id));
  });

  test('takes the leftmost of equal scores', () => {
    const { tokenizer, id } = setUp([...singles, { piece: 'aa', score: -1 }]);
    expect(tokenizer.encode('aaaaa')).toEqual(['▁', 'aa', 'aa', 'a'].map(id));
  });

  test('goes on with what was merged, and forgets pairs that are gone', () => {
    const { tokenizer, id } = setUp([
      ...singles,
      { piece: 'ab', score: -1 },
      { piece: 'bc', score: -2 },
      { piece: 'abc', score: -3 },
      { piece: '▁abc', score: -4 },
    ]);
    expect(tokenizer.encode('abc bc')).toEqual(['▁abc', '▁', 'bc'].map(id));
  });

  test('makes a piece of characters that have none themselves', () => {
    const { tokenizer, id } = setUp([{ piece: '▁' }, { piece: 'xy', score: -1 }]);
    expect(tokenizer.encode('xyx')).toEqual([id('▁'), id('xy'), byteId(0x78)]);
  });

  test('takes an unused piece apart again into what it was made from', () => {
    const { tokenizer, id } = setUp([
      ...singles,
      { piece: 'ab', score: -1, type: PieceType.UNUSED },
      { piece: 'abc', score: -2, type: PieceType.UNUSED },
      { piece: 'abcd', score: -3 },
    ]);
    expect(tokenizer.encode('abc')).toEqual(['▁', 'a', 'b', 'c'].map(id));
    expect(tokenizer.encode('abcd')).toEqual(['▁', 'abcd'].map(id));
  });

  test('reaches across what looks like a border of words, where a piece does', () => {
    const { tokenizer, id } = setUp([
      ...singles,
      { piece: 'a▁', score: -1 },
      { piece: 'a▁b', score: -2 },
    ]);
    expect(tokenizer.encode('a b a')).toEqual(['▁', 'a▁b', '▁', 'a'].map(id));
  });
});

describe('user-defined pieces', () => {
  const defined = { piece: '[DOC]', type: PieceType.USER_DEFINED };

  test('are found in plain text, the longest first, before anything merges', () => {
    const { tokenizer, id } = setUp([
      { piece: '▁' },
      { piece: 'x' },
      { piece: 'x[', score: 5 },
      { piece: '[' },
      defined,
      { piece: '[DOC]x', type: PieceType.USER_DEFINED },
    ]);
    expect(tokenizer.encode('x[DOC]')).toEqual([id('▁'), id('x'), id('[DOC]')]);
    expect(tokenizer.encode('[DOC]xx')).toEqual([id('▁'), id('[DOC]x'), id('x')]);
    expect(tokenizer.decode(tokenizer.encode('x[DOC] [DOC]'))).toBe('x[DOC] [DOC]');
  });
});

describe('spaces', () => {
  test('without a dummy space none is added and none dropped', () => {
    const tokenizer = createTokenizer(
      ggufSource([{ piece: '▁' }, { piece: 'a' }], { addSpacePrefix: false }),
    );
    expect(tokenizer.encode('a')).toEqual([FIRST + 1]);
    expect(tokenizer.encode(' a')).toEqual([FIRST, FIRST + 1]);
    expect(tokenizer.decode([FIRST, FIRST + 1])).toBe(' a');
  });

  test('the same from a SentencePiece model', () => {
    const pieces = [...basePieces(), { piece: '▁' }, { piece: 'a' }];
    const tokenizer = createTokenizer(sentencePieceSource({ pieces, normalizer: { 3: 0 } }));
    expect(tokenizer.encode('a')).toEqual([FIRST + 1]);
    expect(tokenizer.decode([FIRST, FIRST + 1])).toBe(' a');
  });
});

describe('characters without a piece', () => {
  const noBytes: SentencePieceSpec = {
    pieces: [...basePieces().slice(0, 3), { piece: '▁' }, { piece: 'a' }],
    trainer: { 35: 0 },
  };

  test('are bytes where there are bytes', () => {
    const { tokenizer, id } = setUp([{ piece: '▁' }]);
    expect(tokenizer.encode('€')).toEqual([id('▁'), ...[0xe2, 0x82, 0xac].map(byteId)]);
  });

  test('are one unknown a run where there are none', () => {
    const tokenizer = createTokenizer(sentencePieceSource(noBytes));
    expect(tokenizer.encode('éèaé')).toEqual([3, 0, 4, 0]);
    expect(tokenizer.decode([3, 0, 4, 0])).toBe(' \u2047 a \u2047 ');
  });

  test('decode with all of their mark, whatever the name of the piece', () => {
    const spaced = [{ piece: '▁u', type: PieceType.UNKNOWN }, ...noBytes.pieces.slice(1)];
    const tokenizer = createTokenizer(sentencePieceSource({ ...noBytes, pieces: spaced }));
    expect(tokenizer.decode([0])).toBe(' \u2047 ');
  });

  test('decode as the model says', () => {
    const trainer = { 35: 0, 44: '?' };
    const tokenizer = createTokenizer(sentencePieceSource({ ...noBytes, trainer }));
    expect(tokenizer.decode([4, 0])).toBe('a?');
  });
});

describe('a SentencePiece model', () => {
  const pieces = [...basePieces(), { piece: '▁a' }];

  test.each<[string, Partial<SentencePieceSpec>, RegExp]>([
    ['a unigram model', { trainer: { 3: 1 } }, /unigram/],
    ['spaces after words', { trainer: { 24: 1 } }, /treat_whitespace_as_suffix/],
    ['extra spaces removed', { normalizer: { 4: 1 } }, /remove_extra_whitespaces/],
    ['spaces not escaped', { normalizer: { 5: 0 } }, /escape_whitespaces/],
    ['characters normalized', { normalizer: { 2: 'map' } }, /normalizer/],
  ])('with %s is not supported', (_, changes, message) => {
    const source = sentencePieceSource({ pieces, ...changes });
    refused(() => createTokenizer(source), 'UNSUPPORTED_FILE', 'small.model', message);
  });

  test.each<[string, SentencePieceSpec, RegExp]>([
    ['no pieces', { pieces: [] }, /no pieces/],
    ['an empty piece', { pieces: [...pieces, { piece: '' }] }, /piece 260 is empty/],
    ['the same piece twice', { pieces: [...pieces, { piece: '▁a' }] }, /259.*260|260.*259/],
    ['a score that is no number', { pieces: [...pieces, { piece: 'b', score: NaN }] }, /NaN/],
    ['an endless score', { pieces: [...pieces, { piece: 'b', score: -Infinity }] }, /Infinity/],
    ['an unknown type', { pieces: [...pieces, { piece: 'b', type: 9 }] }, /type 9/],
    ['no unknown piece', { pieces: pieces.slice(1) }, /0 unknown/],
    ['a byte too few', { pieces: pieces.filter((_, id) => id !== 77) }, /255 of the 256/],
    ['a byte twice', { pieces: [...pieces, pieces[50]!] }, /50 and 260/],
    ['a byte of three digits', { pieces: [...pieces, { piece: '<0x100>', type: 6 }] }, /byte/],
    ['no bytes, but fallback', { pieces: [...pieces.slice(0, 3)] }, /byte_fallback/],
    ['bytes, but no fallback', { pieces, trainer: { 35: 0 } }, /byte_fallback/],
    ['a bos_id beyond the pieces', { pieces, trainer: { 41: 260 } }, /260/],
    ['an eos_id that is a word', { pieces, trainer: { 42: 259 } }, /259/],
  ])('with %s is refused', (_, spec, message) => {
    refused(
      () => createTokenizer(sentencePieceSource(spec)),
      'INVALID_FILE',
      'small.model',
      message,
    );
  });

  test('with a negative bos_id has none', () => {
    const tokenizer = createTokenizer(sentencePieceSource({ pieces, trainer: { 41: -1 } }));
    expect(tokenizer).toMatchObject({ addBos: false, eosId: 2 });
    expect(tokenizer.bosId).toBeUndefined();
  });

  test('with fields nobody knows is read all the same', () => {
    const { bytes } = sentencePieceSource({ pieces });
    const unknown = [
      bytesField(99, Buffer.from('x')),
      Buffer.concat([varint(100 * 8), varint(-1)]),
      Buffer.concat([varint(101 * 8 + 1), Buffer.alloc(8)]),
      Buffer.concat([varint(102 * 8 + 5), Buffer.alloc(4)]),
    ];
    const source = sentencePieceSource({ pieces }, { bytes: Buffer.concat([bytes, ...unknown]) });
    expect(createTokenizer(source).encode('a')).toEqual([FIRST]);
  });

  test.each<[string, Buffer, RegExp]>([
    ['cut short in a number', Buffer.of(0x0a, 0x80), /middle of a number.*byte 2/],
    [
      'a piece longer than the file',
      Buffer.concat([varint(0x0a), varint(2 ** 40)]),
      /field 1.*longer/,
    ],
    ['a length beyond all numbers', Buffer.concat([varint(0x0a), varint(-1)]), /too large/],
    ['a number without end', Buffer.alloc(32, 0xff), /10 bytes/],
    ['a group', Buffer.of(0x2b, 0x2c), /wire type 3/],
    ['a string that is not UTF-8', bytesField(1, bytesField(1, Buffer.of(0xff))), /UTF-8.*byte 4/],
    ['a piece that is a number', Buffer.of(0x08, 0x01), /field 1 has wire type 0/],
    ['an empty file', Buffer.alloc(0), /no pieces/],
  ])('that is broken is refused: %s', (_, bytes, message) => {
    const source = { kind: 'sentencepiece', path: 'broken.model', bytes } as const;
    refused(() => createTokenizer(source), 'INVALID_FILE', 'broken.model', message);
  });

  test('may have U+FFFD in a piece', () => {
    const source = sentencePieceSource({ pieces: [...pieces, { piece: '\ufffd' }] });
    expect(createTokenizer(source).decode([260])).toBe('\ufffd');
  });

  test.each([
    ['{', /JSON/],
    ['[]', /object/],
    ['{"add_bos_token":"yes"}', /add_bos_token/],
    ['{"added_tokens_decoder":{"x":{"content":"y"}}}', /added_tokens_decoder/],
    ['{"added_tokens_decoder":{"2000000":{"content":"y"}}}', /2000000/],
  ])('beside a broken tokenizer_config.json is refused: %s', (config, message) => {
    const source = sentencePieceSource({ pieces }, { config: configFile(config) });
    refused(() => createTokenizer(source), 'INVALID_FILE', message);
  });
});

describe('tokens of files beside tokenizer.model', () => {
  const pieces = [...basePieces(), { piece: '▁a' }, { piece: '[control_8]', type: 3 }];
  const special = (content: string): object => ({ content, special: true });
  const plain = (content: string): object => ({ content, special: false });
  const withConfig = (config: unknown, rows?: number): BaseTokenizer =>
    createTokenizer(sentencePieceSource({ pieces }, { config: configFile(config) }), rows);

  test('are added by id in tokenizer_config.json, which also says how prompts begin and end', () => {
    const tokenizer = withConfig({
      add_bos_token: false,
      eos_token: { content: '<|im_end|>' },
      added_tokens_decoder: {
        '1': special('<s>'),
        '262': plain('<|im_start|>'),
        '261': special('<|im_end|>'),
      },
    });
    expect(tokenizer).toMatchObject({ vocabularySize: 263, bosId: 1, eosId: 261, addBos: false });
    expect(tokenizer.encode('a<|im_start|>')).toEqual([FIRST, 262]);
    expect(tokenizer.encode('<|im_end|>')).not.toContain(261);
    expect(tokenizer.decode([FIRST, 261, 262])).toBe('a<|im_start|>');
    expect(tokenizer.isControl(261)).toBe(true);
    expect(tokenizer.isControl(262)).toBe(false);
  });

  test('may leave ids out: these have no piece and no text', () => {
    const tokenizer = withConfig({ added_tokens_decoder: { '300': special('<pad>') } });
    expect(tokenizer.vocabularySize).toBe(301);
    expect(tokenizer.idOf('<pad>')).toBe(300);
    expect([...tokenizer.missingIds(303)]).toEqual([
      ...Array.from({ length: 39 }, (_, n) => 261 + n),
      301,
      302,
    ]);
    expect(tokenizer.decode([FIRST, 270, 300, 302])).toBe('a');
    expect(tokenizer.encode('a')).toEqual([FIRST]);
  });

  test('may take the place of pieces', () => {
    const tokenizer = withConfig({
      added_tokens_decoder: { '259': plain('<tool>'), '260': special('<|im_start|>') },
    });
    expect(tokenizer.vocabularySize).toBe(261);
    expect(tokenizer.idOf('<|im_start|>')).toBe(260);
    expect(tokenizer.idOf('[control_8]')).toBeUndefined();
    expect(tokenizer.encode('<tool>')).toContain(259);
  });

  test('are special when they have a role, whatever their entry says', () => {
    const tokenizer = withConfig({
      eos_token: '<|im_end|>',
      pad_token: { content: '<pad>' },
      additional_special_tokens: ['<|im_start|>'],
      added_tokens_decoder: {
        '261': plain('<|im_end|>'),
        '262': plain('<pad>'),
        '263': plain('<|im_start|>'),
        '264': plain('<think>'),
      },
    });
    expect(tokenizer.eosId).toBe(261);
    expect([261, 262, 263, 264].map((id) => tokenizer.isControl(id))).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  test('that hold spaces beside them are not supported', () => {
    const config = { added_tokens_decoder: { '261': { content: '<x>', lstrip: true } } };
    refused(() => withConfig(config), 'UNSUPPORTED_FILE', '<x>', 'lstrip');
  });

  test('of older files are in added_tokens.json, and special by special_tokens_map.json', () => {
    const json = (name: string, content: unknown): JsonFile => ({
      path: name,
      bytes: Buffer.from(JSON.stringify(content)),
    });
    const tokenizer = createTokenizer(
      sentencePieceSource(
        { pieces },
        {
          config: configFile({ eos_token: '</s>', add_bos_token: true }),
          addedTokens: json('added_tokens.json', { '<|im_end|>': 261, '<|im_start|>': 262 }),
          specialTokens: json('special_tokens_map.json', { eos_token: special('<|im_end|>') }),
        },
      ),
    );
    expect(tokenizer).toMatchObject({ vocabularySize: 263, eosId: 261, addBos: true });
    expect(tokenizer.isControl(261)).toBe(true);
    expect(tokenizer.encode('a<|im_start|>')).toEqual([FIRST, 262]);
    refused(
      () =>
        createTokenizer(
          sentencePieceSource({ pieces }, { addedTokens: json('added_tokens.json', { x: -1 }) }),
        ),
      'INVALID_FILE',
      'added_tokens.json',
      'x',
    );
  });

  test('that the model has no row for are no text and no beginning', () => {
    const config = {
      bos_token: '<begin>',
      added_tokens_decoder: { '261': plain('<pad>'), '262': special('<begin>') },
    };
    expect(withConfig(config).encode('a<pad>', { bos: true })).toEqual([262, FIRST, 261]);
    const tokenizer = withConfig(config, 261);
    expect(tokenizer.bosId).toBeUndefined();
    expect(tokenizer.addBos).toBe(false);
    expect(tokenizer.encode('a<pad>').every((id) => id < 261)).toBe(true);
    expect(tokenizer.idOf('<pad>')).toBe(261);
    expect(tokenizer.decode([FIRST, 261])).toBe('a');
  });

  test('pieces of text that the model has no row for are those of another model', () => {
    refused(() => withConfig({}, FIRST), 'INVALID_FILE', '"▁a"', `${FIRST} rows`);
  });
});
