/** What names a model, and which files of a repository it is. */
import { TramontaneError } from '../../lib';
import { aliases } from '../../lib/hub/aliases';
import { choose, chooseFile, quantOf } from '../../lib/hub/choose';
import { isInside, nameOf, parseSource } from '../../lib/hub/source';

const endpoint = new URL('https://huggingface.co');
const parse = (text: string) => parseSource(text, endpoint);

describe('a source', () => {
  const hub = (repository: string, rest: object = {}) => ({
    kind: 'hub',
    repository,
    revision: 'main',
    ...rest,
  });

  test.each([
    ['hf:Own/Repo', hub('Own/Repo')],
    ['hf://Own/Repo', hub('Own/Repo')],
    ['hf:Own/Repo:Q4_K_M', hub('Own/Repo', { quant: 'Q4_K_M' })],
    ['hf:Own/Repo@v1', hub('Own/Repo', { revision: 'v1' })],
    ['hf:Own/Repo@refs/pr/3:Q8_0', hub('Own/Repo', { revision: 'refs/pr/3', quant: 'Q8_0' })],
    ['hf:Own/Repo@a%2Fb', hub('Own/Repo', { revision: 'a/b' })],
    ['hf:Own/Repo/dir/m.gguf', hub('Own/Repo', { file: 'dir/m.gguf' })],
    ['hf:Own/Repo@dev/m.gguf', hub('Own/Repo', { revision: 'dev', file: 'm.gguf' })],
    ['https://huggingface.co/Own/Repo', hub('Own/Repo')],
    ['https://huggingface.co/Own/Repo/tree/dev', hub('Own/Repo', { revision: 'dev' })],
    ['https://hf.co/Own/Repo/blob/main/m.gguf', hub('Own/Repo', { file: 'm.gguf' })],
    [
      'https://huggingface.co/Own/Repo/resolve/main/m.gguf?download=true',
      hub('Own/Repo', { file: 'm.gguf' }),
    ],
    ['model.gguf', { kind: 'file', path: 'model.gguf' }],
    ['file:///tmp/m.gguf', { kind: 'file', path: '/tmp/m.gguf' }],
  ])('%s', (text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  test('a URL of another server, with and without a hash', () => {
    const hex = 'AB'.repeat(32);
    expect(parse(`https://example.com/a.gguf#sha256=${hex}`)).toEqual({
      kind: 'url',
      url: new URL('https://example.com/a.gguf'),
      sha256: hex.toLowerCase(),
    });
    expect(parse('https://example.com/a.gguf')).not.toHaveProperty('sha256');
  });

  test.each([
    'hf:Repo',
    'hf:Own/Repo:',
    'hf:Own/../x',
    'hf:Own/Re--po',
    'hf:Own/Repo/../m.gguf',
    'hf:Own/Repo/a\\..\\m.gguf',
    'hf:Own/Repo@..',
    'hf:Own/Repo@%2e%2e%2fx',
    'hf:Own/Repo@a%zz',
    'hf:Own/Repo/c:/m.gguf',
    'https://user:secret@example.com/m.gguf',
    'https://example.com/m.gguf#sha256=12',
    'https://huggingface.co/Own/Repo/resolve/main/..%2f..%2fm.gguf',
    '',
  ])('%j is refused in one line', (text) => {
    const error = caught(() => parse(text));
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    expect(error.message).not.toMatch(/\n|secret/);
  });

  test.each(['hf:Own/Repo', 'hf:Own/Repo@dev:Q4_0', 'hf:Own/Repo@a%2Fb/m.gguf'])(
    'its name %s is a source again',
    (text) => {
      expect(nameOf(parse(text))).toBe(text);
    },
  );

  test.each(['../x', 'a/../x', '/x', 'a//x', 'a\\x', 'C:x', 'a\0', 'a/.', 'x.', 'a\nb', ''])(
    'a path of a server that leads elsewhere is known: %j',
    (path) => {
      expect(isInside(path)).toBe(false);
    },
  );
});

test('aliases are sources, and each name is one', () => {
  for (const { name, source, about } of aliases) {
    expect(parse(name)).toEqual(parse(source));
    expect(parse(name.toUpperCase())).toEqual(parse(source));
    expect(about.length).toBeLessThan(78);
  }
  expect(new Set(aliases.map(({ name }) => name)).size).toBe(aliases.length);
});

describe('the files of a model', () => {
  const bloke = ['Q2_K', 'Q3_K_M', 'Q4_0', 'Q4_K_M', 'Q4_K_S', 'Q8_0'].map(
    (quant) => `mistral-7b-v0.1.${quant}.gguf`,
  );

  test.each([
    ['mistral-7b-v0.1.Q4_K_M.gguf', 'Q4_K_M'],
    ['Mistral-7B-Instruct-v0.3-IQ4_XS.gguf', 'IQ4_XS'],
    ['ggml-model-q8_0.gguf', 'Q8_0'],
    ['Q8_0/model-00001-of-00002.gguf', 'Q8_0'],
    ['model.fp16.gguf', 'F16'],
    ['model-bf16.gguf', 'BF16'],
    ['breeze.gguf', undefined],
  ])('%s is %s', (file, quant) => {
    expect(quantOf(file)).toBe(quant);
  });

  test('the quantization that is asked for, in any case', () => {
    expect(choose('hf:O/R', bloke, 'q4_0')).toEqual({
      files: ['mistral-7b-v0.1.Q4_0.gguf'],
      open: 'mistral-7b-v0.1.Q4_0.gguf',
      quant: 'Q4_0',
    });
  });

  test('without one Q4_K_M, and it is said; else the next best', () => {
    expect(choose('hf:O/R', bloke)).toMatchObject({
      quant: 'Q4_K_M',
      note: expect.stringMatching(/^taking Q4_K_M of hf:O\/R, which has Q2_K, Q3_K_M, Q4_0/),
    });
    const fewer = bloke.filter((file) => !file.includes('Q4'));
    expect(choose('hf:O/R', fewer).quant).toBe('Q8_0');
    expect(choose('hf:O/R', ['README.md', 'm.Q2_K.gguf'])).toEqual({
      files: ['m.Q2_K.gguf'],
      open: 'm.Q2_K.gguf',
      quant: 'Q2_K',
    });
  });

  test('what is not there is said with what is', () => {
    const error = caught(() => choose('hf:O/R', bloke, 'Q5_K_M'));
    expect(error.code).toBe('FILE_NOT_READABLE');
    expect(error.message).toMatch(/no GGUF file of Q5_K_M; there are: Q2_K, .*Q8_0$/);
  });

  test('two files of one quantization: the user names one', () => {
    const two = ['a-Q4_0.gguf', 'b-Q4_0.gguf'];
    expect(caught(() => choose('hf:O/R', two)).message).toMatch(/2 GGUF files.*hf:O\/R\/a-Q4_0/);
    expect(choose('hf:O/R', [...two, 'UD-Q4_K_XL.gguf'], 'UD-Q4_K_XL').open).toMatch(/^UD/);
  });

  test('all parts of a split file, and no part of one that is not whole', () => {
    const parts = [1, 2, 3].map((n) => `x/m-Q8_0-0000${n}-of-00003.gguf`);
    expect(choose('hf:O/R', [...parts].reverse(), 'Q8_0').files).toEqual(parts);
    expect(chooseFile(parts[1]!)).toEqual({ files: parts, open: parts[0], quant: 'Q8_0' });
    expect(() => choose('hf:O/R', parts.slice(1), 'Q8_0')).toThrow(TramontaneError);
  });

  test('projectors and statistics are no models', () => {
    const files = ['mmproj-F16.gguf', 'imatrix.gguf', 'm-Q8_0.gguf'];
    expect(choose('hf:O/R', files).files).toEqual(['m-Q8_0.gguf']);
  });

  test('a directory: safetensors and what belongs to them, each weight once', () => {
    const wanted = [
      'config.json',
      'tokenizer.model',
      'tokenizer_config.json',
      'model.safetensors.index.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ];
    const others = [
      'pytorch_model.bin',
      'consolidated.safetensors',
      'params.json',
      'x.pth',
      'README.md',
      'original/model.safetensors',
    ];
    const choice = choose('hf:O/R', [...others, ...wanted]);
    expect([...choice.files].sort()).toEqual([...wanted].sort());
    expect(choice.open).toBeUndefined();
  });

  test('a GPTQ directory', () => {
    const files = ['config.json', 'quantize_config.json', 'tokenizer.json', 'model.safetensors'];
    expect([...choose('hf:O/R', files).files].sort()).toEqual([...files].sort());
    expect(() => choose('hf:O/R', files, 'Q4_0')).toThrow(/leave :QUANT out/);
  });

  test("Mistral's own layout", () => {
    const files = ['params.json', 'consolidated.safetensors', 'tokenizer.model.v3'];
    expect(choose('hf:O/R', [...files, 'README.md']).files).toEqual([...files].sort());
  });

  test.each([
    [['pytorch_model.bin', 'config.json'], /pickles/],
    [['adapter_config.json', 'adapter_model.safetensors'], /adapter/],
    [['README.md'], /neither/],
  ])('no model in %j', (files, message) => {
    expect(() => choose('hf:O/R', files)).toThrow(message);
  });
});

function caught(run: () => unknown): TramontaneError {
  try {
    run();
  } catch (error) {
    return error as TramontaneError;
  }
  throw new Error('nothing was thrown');
}
