import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer } from '../../lib/tokenizer/load';
import { refused } from '../files/refused';
import { fixture } from '../reference';
import { jsonSource, smallJson } from './builders';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tramontane-load-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const MODEL = fixture('tokens/tokenizer-json/v1-384.model');
const HELLO = [313, 320, 294, 323];

test.each([
  'tokenizer.model',
  'tokenizer.model.v1',
  'mistral_instruct_tokenizer_240323.model.v3',
  'x',
])('a SentencePiece model is known by its content: %s', async (name) => {
  const path = join(folder, name);
  copyFileSync(MODEL, path);
  expect((await loadTokenizer(path)).encode('Hello')).toEqual(HELLO);
});

test('a GGUF file, and one of another name', async () => {
  const path = join(folder, 'renamed');
  copyFileSync(fixture('gguf/swa-Q4_0.gguf'), path);
  for (const file of [fixture('gguf/swa-Q4_0.gguf'), path]) {
    expect((await loadTokenizer(file)).encode('Hello')).toEqual(HELLO);
  }
});

test('a tokenizer.json, with the tokenizer_config.json beside it', async () => {
  const path = join(folder, 'tokenizer.json');
  writeFileSync(path, jsonSource(smallJson()).bytes);
  expect((await loadTokenizer(path)).bosId).toBeUndefined();
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"bos_token":"<s>","add_bos_token":true}');
  expect(await loadTokenizer(path)).toMatchObject({ bosId: 1, addBos: true });
});

test('a tokenizer.model, with the files beside it that a fine-tune adds tokens in', async () => {
  const path = join(folder, 'tokenizer.model');
  copyFileSync(MODEL, path);
  expect(await loadTokenizer(folder)).toMatchObject({ eosId: 2, addBos: true });
  writeFileSync(join(folder, 'added_tokens.json'), '{"<|im_end|>": 384, "<|im_start|>": 385}');
  writeFileSync(join(folder, 'special_tokens_map.json'), '{"eos_token": "<|im_end|>"}');
  const older = await loadTokenizer(folder);
  expect(older).toMatchObject({ vocabularySize: 386, eosId: 384, addBos: true });
  expect(older.encode('Hello<|im_start|>')).toEqual([...HELLO, 385]);
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({
      add_bos_token: false,
      eos_token: '<|end|>',
      added_tokens_decoder: { 384: { content: '<|end|>', special: true } },
    }),
  );
  expect(await loadTokenizer(path)).toMatchObject({
    vocabularySize: 385,
    eosId: 384,
    addBos: false,
  });
});

test('a directory: tokenizer.model before tokenizer.json', async () => {
  writeFileSync(join(folder, 'tokenizer.json'), jsonSource(smallJson()).bytes);
  expect((await loadTokenizer(folder)).vocabularySize).toBe(9);
  copyFileSync(MODEL, join(folder, 'tokenizer.model'));
  expect((await loadTokenizer(folder)).vocabularySize).toBe(384);
});

test('what is not there, or is no tokenizer, is an error that names it', async () => {
  await refused(loadTokenizer(join(folder, 'none.model')), 'FILE_NOT_READABLE', 'none.model');
  await refused(loadTokenizer(folder), 'FILE_NOT_READABLE', folder);
  const path = join(folder, 'picture.png');
  writeFileSync(path, Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'));
  await refused(loadTokenizer(path), 'INVALID_FILE', 'picture.png');
});
