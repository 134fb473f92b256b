import { createTokenizer } from '../../lib/tokenizer/create';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { PieceType } from '../../lib/tokenizer/vocabulary';
import { byteLevelSource, ggufSource, jsonSource, smallJson, type TokenizerJson } from './builders';
import { refused } from './refused';

/** A tokenizer from the small tokenizer.json, changed. */
function changed(change: (json: TokenizerJson) => void, config?: unknown): Tokenizer {
  const json = smallJson();
  change(json);
  return createTokenizer(jsonSource(json, config));
}

const addedToken = (id: number, content: string, more = {}): Record<string, unknown> => ({
  id,
  content,
  special: false,
  normalized: false,
  ...more,
});

describe('merging by rank', () => {
  test('takes the least rank first, the leftmost of equals', () => {
    const tokenizer = changed(({ model }) => {
      model.vocab = { ...model.vocab, bc: 9, aa: 10 };
      model.merges = ['b c', 'a b', 'a a', 'ab c'];
    });
    expect(tokenizer.encode('abc')).toEqual([3, 4, 9]);
    expect(tokenizer.encode('aaa')).toEqual([3, 10, 4]);
  });

  test('of a pair given twice: the last in tokenizer.json, the first in GGUF', () => {
    const json = changed(({ model }) => {
      model.vocab = { ...model.vocab, bc: 9 };
      model.merges = ['a b', 'b c', 'a b'];
    });
    expect(json.encode('abc')).toEqual([3, 4, 9]);
    const gguf = createTokenizer(byteLevelSource(['a b', 'b c', 'a b']));
    expect(gguf.encode('abc')).toEqual([257, 1 + 0x63]);
  });

  test.each<[string, (json: TokenizerJson) => void, RegExp]>([
    ['a part that is no piece', ({ model }) => model.merges.push('a z'), /merge 2.*"z"/],
    ['a result that is no piece', ({ model }) => model.merges.push('b c'), /merge 2.*"bc"/],
    ['one part', ({ model }) => model.merges.push('ab'), /merge 2/],
    ['an empty part', ({ model }) => model.merges.push(['', 'a']), /merge 2/],
    ['three parts', ({ model }) => model.merges.push(['a', 'b', 'c']), /merge 2/],
    ['a number', ({ model }) => model.merges.push(7), /merge 2/],
  ])('with %s is refused', (_, change, message) => {
    refused(() => changed(change), 'INVALID_FILE', 'small.json', message);
  });
});

describe('characters without a piece', () => {
  test('are one unknown a run if the file fuses them, else one each', () => {
    expect(changed(() => {}).encode('aéèb')).toEqual([3, 4, 0, 5]);
    const each = changed(({ model }) => (model['fuse_unk'] = false));
    expect(each.encode('aéèb')).toEqual([3, 4, 0, 0, 5]);
  });

  test('vanish if there is no unknown token', () => {
    const tokenizer = changed(({ model }) => delete model['unk_token']);
    expect(tokenizer.encode('aéb')).toEqual([3, 7]);
  });

  test('are bytes if there are all of them', () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => {
      return [`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 100 + byte];
    });
    const withBytes = (entries: unknown[][]) =>
      changed(({ model }) => {
        model['byte_fallback'] = true;
        Object.assign(model.vocab, Object.fromEntries(entries));
      });
    const tokenizer = withBytes(bytes);
    expect(tokenizer.encode('aé')).toEqual([3, 4, 100 + 0xc3, 100 + 0xa9]);
    expect(tokenizer.decode([3, 4, 100 + 0xc3, 100 + 0xa9])).toBe('aé');
    // As tokenizers decodes: if a byte of a run is wrong, all of the run is.
    expect(tokenizer.decode([4, 100 + 0xc3, 100 + 0xa9, 100 + 0xff])).toBe('a\ufffd\ufffd\ufffd');
    refused(() => withBytes(bytes.slice(1)), 'INVALID_FILE', '255 of the 256');
  });
});

describe('added tokens', () => {
  test('are found in plain text, but special ones are not', () => {
    const tokenizer = changed(({ added_tokens }) => {
      added_tokens.push(addedToken(9, 'c!'), addedToken(10, 'c!!', { special: true }));
    });
    expect(tokenizer.encode('abc!')).toEqual([3, 7, 9]);
    // A special token is not looked for, nor anything inside of it.
    expect(tokenizer.encode('abc!!')).toEqual([3, 8, 0]);
    expect(tokenizer.encode('<s>')).not.toContain(1);
    expect(tokenizer.decode([4, 9, 10, 4])).toBe('ac!a');
  });

  test('that are normalized are found after normalizing', () => {
    const tokenizer = changed(({ added_tokens }) => {
      added_tokens.push(addedToken(9, 'c b', { normalized: true }));
    });
    expect(tokenizer.encode('a c b')).toEqual([3, 4, 9]);
  });

  test.each<[string, Record<string, unknown>, 'INVALID_FILE' | 'UNSUPPORTED_FILE', RegExp]>([
    ['has no content', { id: 9 }, 'INVALID_FILE', /content/],
    ['has an id beyond the file', addedToken(1e6, 'x'), 'INVALID_FILE', /id/],
    ['has a negative id', addedToken(-1, 'x'), 'INVALID_FILE', /-1/],
    ['has the id of a piece', addedToken(4, 'x'), 'INVALID_FILE', /"a" and "x"/],
    ['is a piece of another id', addedToken(9, 'ab'), 'INVALID_FILE', /9 .* 7/],
    ['takes spaces beside it', addedToken(9, 'x', { lstrip: true }), 'UNSUPPORTED_FILE', /lstrip/],
    ['is endless', addedToken(9, 'x'.repeat(1000)), 'UNSUPPORTED_FILE', /1000/],
  ])('one that %s is refused', (_, token, code, message) => {
    refused(() => changed(({ added_tokens }) => added_tokens.push(token)), code, message);
  });
});

describe('the beginning of a sequence', () => {
  const template = (first: unknown) => ({ type: 'TemplateProcessing', single: [first] });
  const bos = { SpecialToken: { id: '<s>', type_id: 0 } };

  test('is what the template begins with', () => {
    const alone = changed((json) => (json.post_processor = template(bos)));
    expect(alone).toMatchObject({ bosId: 1, eosId: 2, addBos: true });
    const processors = [{ type: 'ByteLevel' }, template(bos)];
    const inSequence = changed((json) => (json.post_processor = { type: 'Sequence', processors }));
    expect(inSequence).toMatchObject({ bosId: 1, addBos: true });
    const none = changed((json) => (json.post_processor = template({ Sequence: { id: 'A' } })));
    expect(none.addBos).toBe(false);
  });

  test('is what tokenizer_config.json says, as a string or as an object', () => {
    const config = { add_bos_token: true, bos_token: '</s>', eos_token: { content: '<s>' } };
    expect(changed(() => {}, config)).toMatchObject({ bosId: 2, eosId: 1, addBos: true });
    const without = changed((json) => (json.post_processor = template(bos)), {
      add_bos_token: false,
    });
    expect(without).toMatchObject({ bosId: 1, addBos: false });
  });
});

describe('parts of tokenizer.json that are not supported are refused by name', () => {
  const regex = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated' });
  test.each<[string, (json: TokenizerJson) => void, RegExp]>([
    ['another model', ({ model }) => (model['type'] = 'Unigram'), /Unigram/],
    ['dropout', ({ model }) => (model['dropout'] = 0.1), /dropout/],
    ['a normalizer', (json) => (json.normalizer = { type: 'NFKC' }), /NFKC/],
    ['a pre-tokenizer', (json) => (json.pre_tokenizer = { type: 'Bert' }), /Bert/],
    ['a hostile expression', (json) => (json.pre_tokenizer = regex('(a+)+$')), /\(a\+\)\+\$/],
    ['a decoder', (json) => (json.decoder = { type: 'WordPiece' }), /WordPiece/],
    ['no decoder', (json) => (json.decoder = null), /no decoder/],
    [
      'a replacement that grows',
      (json) => (json.normalizer = { type: 'Replace', pattern: { String: 'a' }, content: 'aa' }),
      /content/,
    ],
    [
      'a sequence in a sequence',
      (json) => (json.normalizer = { type: 'Sequence', normalizers: [json.normalizer] }),
      /Sequence/,
    ],
  ])('%s', (_, change, message) => {
    refused(() => changed(change), 'UNSUPPORTED_FILE', 'small.json', message);
  });
});

describe('a tokenizer.json that is broken is refused', () => {
  test.each([
    ['', /is empty/],
    ['[]', /object/],
    ['{}', /model/],
    ['{"model":{"vocab":[],"merges":[]}}', /vocab/],
    ['{"model":{"vocab":{},"merges":[]}}', /empty/],
    ['{"model":{"vocab":{"a":1.5},"merges":[]}}', /"a"/],
    ['{"model":{"vocab":{"a":1e15},"merges":[]}}', /"a"/],
    ['{"model":{"vocab":{"a":0,"b":0},"merges":[]}}', /"a" and "b"/],
    ['{"model":{"vocab":{"a":0}}}', /merges/],
  ])('%s', (text, message) => {
    const source = {
      kind: 'tokenizer.json',
      path: 'broken.json',
      bytes: Buffer.from(text),
    } as const;
    refused(() => createTokenizer(source), 'INVALID_FILE', 'broken.json', message);
  });

  test('deeply nested values are not written out in messages', () => {
    const depth = 60;
    const arrays = `{"model":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const objects = `{"model":{"type":${'{"a":'.repeat(depth)}0${'}'.repeat(depth)}}}`;
    for (const text of [arrays, objects]) {
      const source = {
        kind: 'tokenizer.json',
        path: 'deep.json',
        bytes: Buffer.from(text),
      } as const;
      refused(() => createTokenizer(source), 'INVALID_FILE', /is (a list|an object), not/);
    }
  });

  test('pieces named like keys of Object.prototype are pieces', () => {
    const text = JSON.stringify(smallJson()).replace(
      '"abc":8',
      '"abc":8,"__proto__":9,"constructor":10',
    );
    const tokenizer = createTokenizer({
      kind: 'tokenizer.json',
      path: 'x',
      bytes: Buffer.from(text),
    });
    expect(tokenizer.decode([9, 10])).toBe('__proto__constructor');
    expect(tokenizer.vocabularySize).toBe(11);
  });
});

describe('byte-level BPE', () => {
  test('merges bytes, so parts of a character too', () => {
    // é is c3 a9, which GPT-2 writes Ã ©; è is c3 a8.
    const tokenizer = createTokenizer(byteLevelSource(['Ã ©']));
    expect(tokenizer.encode('éè')).toEqual([257, 1 + 0xc3, 1 + 0xa8]);
    expect(tokenizer.decode([1 + 0xc3, 1 + 0xa8, 257])).toBe('èé');
    expect(tokenizer.decode([1 + 0xc3, 257])).toBe('\ufffdé');
  });

  test('has a piece for each byte, as GPT-2 writes them', () => {
    const tokenizer = createTokenizer(byteLevelSource([]));
    for (let byte = 0; byte < 256; byte++) {
      expect(tokenizer.tokenBytes(1 + byte)).toEqual(Uint8Array.of(byte));
    }
    const all = String.fromCharCode(...Array.from({ length: 0x180 }, (_, code) => code));
    expect(tokenizer.encode(all)).toEqual(Array.from(Buffer.from(all), (byte) => 1 + byte));
  });

  test('loses nothing of a word of any length', () => {
    const tokenizer = createTokenizer(byteLevelSource(['a b', 'ab ab']));
    const word = 'ab'.repeat(30_001);
    expect(tokenizer.encode(word)).toEqual([...new Array<number>(15_000).fill(258), 257]);
  });

  test('does not merge across words', () => {
    const tokenizer = createTokenizer(byteLevelSource(['a Ġ', 'Ġ a']));
    expect(tokenizer.encode('a a')).toEqual([1 + 0x61, 258]);
  });

  test('a word that is a piece is taken whole where the pre-tokenizer says so', () => {
    const merges = ['b c', 'a b', 'ab c'];
    const split = createTokenizer(byteLevelSource(merges, { pre: 'smollm' }));
    expect(split.encode('abc')).toEqual([1 + 0x61, 257]);
    const whole = createTokenizer(byteLevelSource(merges, { pre: 'llama-bpe' }));
    expect(whole.encode('abc')).toEqual([259]);
  });

  test('bytes that have no piece vanish, as in the reference', () => {
    const source = byteLevelSource([]);
    const pieces = source.pieces.map((piece) => (piece === 'b' ? 'unused' : piece));
    expect(createTokenizer({ ...source, pieces }).encode('abc')).toEqual([1 + 0x61, 1 + 0x63]);
  });

  test('user-defined pieces are found as they are, and decode as they are', () => {
    const source = byteLevelSource([]);
    const pieces = [...source.pieces, 'é é'];
    const types = Int32Array.of(...source.types!, PieceType.USER_DEFINED);
    const tokenizer = createTokenizer({ ...source, pieces, types });
    expect(tokenizer.encode('aé éa')).toEqual([1 + 0x61, 257, 1 + 0x61]);
    expect(tokenizer.decode([257])).toBe('é é');
  });

  test('an unknown pre-tokenizer is named, with those that are known', () => {
    const source = byteLevelSource([], { pre: 'viking' });
    refused(() => createTokenizer(source), 'UNSUPPORTED_FILE', 'bytes.gguf', '"viking"', 'tekken');
  });

  test('without merges, or with one of pieces that are not there, is refused', () => {
    const source = byteLevelSource([]);
    const without = { ...source, merges: undefined as never };
    refused(() => createTokenizer(without), 'INVALID_FILE', 'merges');
    const broken = { ...source, merges: ['a ?missing'] };
    refused(() => createTokenizer(broken), 'INVALID_FILE', 'merge 0', '"?missing"');
  });
});

describe('GGUF arrays that do not fit together are refused', () => {
  const source = ggufSource([{ piece: '▁' }]);
  test.each([
    ['no tokenizer', { model: '' }, 'INVALID_FILE', /no tokenizer/],
    ['no pieces', { pieces: [] }, 'INVALID_FILE', /tokens/],
    ['another model', { model: 'bert' }, 'UNSUPPORTED_FILE', /"bert"/],
    ['too few scores', { scores: new Float32Array(3) }, 'INVALID_FILE', /scores.*3.*260/],
    ['too many types', { types: new Int32Array(300) }, 'INVALID_FILE', /token_type.*300/],
    ['a type that is none', { types: new Int32Array(260) }, 'INVALID_FILE', /type 0/],
    ['a bos beyond', { bosId: 260 }, 'INVALID_FILE', /bos_token_id is 260/],
    ['an eos beyond', { eosId: 2 ** 32 - 1 }, 'INVALID_FILE', /eos_token_id is 4294967295/],
  ] as const)('%s', (_, changes, code, message) => {
    refused(() => createTokenizer({ ...source, ...changes }), code, 'small.gguf', message);
  });

  test.each(['scores', 'types'] as const)('no %s', (key) => {
    const without = { ...source, [key]: undefined as never };
    refused(() => createTokenizer(without), 'INVALID_FILE', /is missing/);
  });
});

describe('a vocabulary with more pieces than the model has rows', () => {
  test('of tokenizer.json: no text becomes an added token beyond them', () => {
    const json = smallJson();
    json.added_tokens.push({ id: 9, content: '<pad>', normalized: false });
    expect(createTokenizer(jsonSource(json)).encode('<pad>')).toEqual([9]);
    const tokenizer = createTokenizer(jsonSource(json), 9);
    expect(tokenizer.encode('<pad>')).not.toContain(9);
    expect(tokenizer.isControl(9)).toBe(true);
    refused(() => createTokenizer(jsonSource(json), 8), 'INVALID_FILE', '"abc"', '8 rows');
  });

  test('of tokenizer.json: nor when it is also among the pieces of the model', () => {
    const json = smallJson();
    json.model.vocab['x'] = 9;
    json.added_tokens.push({ id: 9, content: 'x', normalized: false });
    expect(createTokenizer(jsonSource(json)).encode('x')).toEqual([9]);
    expect(createTokenizer(jsonSource(json), 9).encode('x')).not.toContain(9);
  });

  test('of GGUF: the same', () => {
    const source = byteLevelSource(['a b']);
    const pieces = [...source.pieces, '<pad>'];
    const types = Int32Array.from([...source.types!, PieceType.USER_DEFINED]);
    const padded = { ...source, pieces, types };
    expect(createTokenizer(padded).encode('<pad>')).toEqual([258]);
    expect(createTokenizer(padded, 258).encode('<pad>')).not.toContain(258);
    refused(() => createTokenizer(padded, 257), 'INVALID_FILE', '"ab"', '257 rows');
  });
});

test('of pieces in GGUF that are the same the last one counts', () => {
  const source = byteLevelSource(['a b', 'c d']);
  const pieces = [...source.pieces];
  pieces[258] = 'ab';
  const tokenizer = createTokenizer({ ...source, pieces, merges: ['a b'] });
  expect(tokenizer.encode('ab')).toEqual([258]);
  expect(tokenizer.decode([257])).toBe('ab');
});
