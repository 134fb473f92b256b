/** Words that the expressions cut texts into, read off their definitions. */
import { KNOWN_EXPRESSIONS, PRE_TOKENIZERS } from '../../lib/tokenizer/byte-level/split';

function words(name: string, text: string): string[] {
  return [...PRE_TOKENIZERS.get(name)!.words(text, true)];
}

describe.each([...PRE_TOKENIZERS.keys()])('%s', (name) => {
  test.each([
    ['Hello world', ['Hello', ' world']],
    ['naïve café', ['naïve', ' café']],
    ['日本語 한국어', ['日本語', ' 한국어']],
    ['a', ['a']],
    ['', []],
  ])('%j', (text, expected) => {
    expect(words(name, text).filter((word) => word !== '')).toEqual(expected);
  });

  test('loses nothing, whatever the text', () => {
    const texts = [
      "don't WE'LL\r\n\n\t x[0]+=12345; 🏳️‍🌈 \u0085\u3000\ufeff e\u0301 ٠١٢³½ Ⅷ ǅ _-_ a/b//\n/",
      '\u0000\u0001 \u200b\u2028\u2029  ',
      '   ',
    ];
    for (const text of texts) expect(words(name, text).join('')).toBe(text);
  });
});

test.each([
  // The rest of GPT-2's expression, after each digit was cut out.
  ['smollm', "I'll be 123", ['I', "'ll", ' be', ' ', '1', '2', '3']],
  ['smollm', 'a  b', ['a', ' ', ' b']],
  ['smollm', 'x \n\ny', ['x', ' \n', '\n', 'y']],
  ['smollm', "DON'T", ['DON', "'", 'T']],
  ['smollm', 'a\u0085\u0085b', ['a', '\u0085', '\u0085', 'b']],
  ['smollm', 'a\ufeffb', ['a', '\ufeff', 'b']],
  // Punctuation first, numbers as wholes, then three ASCII digits at a time.
  ['default', "don't: 12345", ['don', "'", 't', ':', ' 123', '45'].flatMap(cutSpaces)],
  ['default', 'a+b', ['a', '+', 'b']],
  // Contractions whatever the case, up to three digits, newlines with what is before them.
  ['llama-bpe', "I'LL pay 12345!\n\nOK", ['I', "'LL", ' pay', ' ', '123', '45', '!\n\n', 'OK']],
  ['llama-bpe', 'a  b', ['a', ' ', ' b']],
  ['llama-bpe', '(x)', ['(x', ')']],
  ['llama-bpe', 'x \n y', ['x', ' \n', ' y']],
  // Upper case ends a word, digits one by one, slashes with newlines.
  ['tekken', 'CamelCase HTTPServer', ['Camel', 'Case', ' HTTPServer']],
  ['tekken', "don't 2024", ['don', "'t", ' ', '2', '0', '2', '4']],
  ['tekken', 'a://b', ['a', '://', 'b']],
])('%s: %j', (name, text, expected) => {
  expect(words(name, text)).toEqual(expected);
});

/** " 123" is a space and a number to the third expression of `default`. */
function cutSpaces(word: string): string[] {
  return word.startsWith(' ') ? [' ', word.slice(1)] : [word];
}

describe('a long run of one kind of character is cut in one go', () => {
  test.each([...PRE_TOKENIZERS.keys()])('%s', (name) => {
    for (const unit of [
      'a',
      'A',
      'é',
      '中',
      '\u0301',
      ' ',
      '\n',
      '.',
      'aA',
      'a1',
      '\ud83d\ude00',
      ' \n',
    ]) {
      const text = unit.repeat(200_000);
      expect(words(name, text).join('').length).toBe(text.length);
    }
  });

  test.each([...KNOWN_EXPRESSIONS.values()].map((split, n) => [n, split] as const))(
    '%i',
    (_, split) => {
      const text = ' '.repeat(1_000_000) + 'x';
      expect([...split(text, true)].length).toBe(2);
    },
  );

  test.each(['中', '\u2003', '😀'])(
    '%j, ten million times: all of it, or INVALID_PROMPT',
    (unit) => {
      const text = unit.repeat(10_000_000 / unit.length);
      for (const { words: split } of PRE_TOKENIZERS.values()) {
        let length = 0;
        let error: unknown;
        try {
          for (const word of split(text, true)) length += word.length;
        } catch (thrown) {
          error = thrown;
        }
        if (error === undefined) expect(length).toBe(text.length);
        else expect(error).toMatchObject({ code: 'INVALID_PROMPT' });
      }
    },
  );
});
