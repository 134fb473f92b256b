/** Paths: what each kind opens, and what the rest are told. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/files/open';
import { readTokenizerSource } from '../../lib/files/find-tokenizer';
import { fixture } from '../reference';
import { modelGguf } from './gguf-builder';
import { HfBuilder } from './hf-builder';
import { refused } from './refused';

const root = mkdtempSync(join(tmpdir(), 'tramontane-open-'));
afterAll(() => rmSync(root, { recursive: true }));

const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:3e00\nsize 4140374304\n';

let count = 0;
/** A new directory that holds these files. */
function directory(files: Record<string, string> = {}): string {
  const path = join(root, String(count++));
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

describe('openCheckpoint', () => {
  test('a GGUF file of any name, and through a link', async () => {
    const path = join(directory(), 'blob');
    modelGguf().writeSparse(path);
    expect(await openCheckpoint(path)).toMatchObject({ kind: 'gguf', files: [{ path }] });
    const link = `${path}.gguf`;
    symlinkSync(path, link);
    expect((await openCheckpoint(link)).path).toBe(link);
  });

  test('a directory with one GGUF file, with or without a config.json', async () => {
    const path = directory({ 'README.md': '' });
    modelGguf().writeSparse(join(path, 'model.gguf'));
    expect(await openCheckpoint(path)).toMatchObject({ path, kind: 'gguf' });
    writeFileSync(join(path, 'config.json'), '{"model_type": "mistral"}');
    expect(await openCheckpoint(path)).toMatchObject({ path, kind: 'gguf' });
  });

  test('a directory with several GGUF files lists them', async () => {
    const path = directory();
    for (const name of ['a.gguf', 'b.gguf']) modelGguf().writeSparse(join(path, name));
    await refused(openCheckpoint(path), 'INVALID_FILE', 'name the one to open (a.gguf, b.gguf)');
  });

  test('safetensors go before GGUF in one directory', async () => {
    const path = directory();
    new HfBuilder().write(path);
    modelGguf().writeSparse(join(path, 'a.gguf'));
    expect((await openCheckpoint(path)).kind).toBe('safetensors');
  });

  test('one safetensors file opens its directory', async () => {
    const path = directory();
    new HfBuilder().write(path);
    const file = join(path, 'model.safetensors');
    expect(await openCheckpoint(file)).toMatchObject({ path: file, files: [{ path: file }] });
    rmSync(join(path, 'config.json'));
    await refused(openCheckpoint(file), 'FILE_NOT_READABLE', 'no config.json beside it');
  });

  test('GPTQ from the fixtures', async () => {
    const checkpoint = await openCheckpoint(fixture('gptq/swa-gptq-b4-g128-actorder'));
    expect(checkpoint.formats).toEqual({ BF16: 9, 'GPTQ-4bit-g128': 21 });
  });

  test('a file that is missing or no file', async () => {
    await refused(openCheckpoint(join(root, 'none.gguf')), 'FILE_NOT_READABLE', 'no such file');
    await refused(openCheckpoint(join(root, 'none/x.gguf')), 'FILE_NOT_READABLE', 'no such file');
    await refused(openCheckpoint('/dev/null'), 'FILE_NOT_READABLE', 'not a regular file');
    await refused(openCheckpoint('a\0b'), 'FILE_NOT_READABLE', 'cannot be read');
  });

  test('a named pipe does not make it wait', async () => {
    const pipe = join(directory(), 'pipe.gguf');
    execFileSync('mkfifo', [pipe]);
    await refused(openCheckpoint(pipe), 'FILE_NOT_READABLE', 'not a regular file');
  });

  test('a path through a file', async () => {
    const path = join(directory({ 'x.gguf': '' }), 'x.gguf', 'y.gguf');
    await refused(openCheckpoint(path), 'FILE_NOT_READABLE', 'is not a directory');
  });

  test.each([
    ['GGU', 'starts with "GGU"; GGUF files and directories with'],
    ['Hello', 'starts with "Hell"'],
  ])('a file that starts with %p', async (content, message) => {
    const path = join(directory({ 'x.gguf': content }), 'x.gguf');
    await refused(openCheckpoint(path), 'INVALID_FILE', path, message);
  });

  const FOREIGN: [string, Buffer, string, string][] = [
    ['an empty file', Buffer.of(), 'INVALID_FILE', 'is empty; download it again'],
    ['a Git LFS pointer', Buffer.from(LFS), 'INVALID_FILE', 'of 4140374304 bytes'],
    ['a Git LFS pointer', Buffer.from(LFS), 'INVALID_FILE', 'run "git lfs pull"'],
    ['a web page', Buffer.from('<!doctype HTML>\n<html>'), 'INVALID_FILE', 'a web page'],
    ['a web page', Buffer.from('\ufeff \n<HTML lang="en">'), 'INVALID_FILE', 'download the file'],
    ["a server's answer", Buffer.from('Entry not found'), 'INVALID_FILE', '"Entry not found"'],
    ["a server's answer", Buffer.from('{"error":"x"}'), 'INVALID_FILE', 'answer of a server'],
    ['zeros', Buffer.alloc(1000), 'INVALID_FILE', 'whose download did not end'],
    ['a zip archive', Buffer.from('PK\u0003\u0004xxxxxxx'), 'UNSUPPORTED_FILE', 'pickles are not'],
    ['a pickle', Buffer.from([0x80, 2, 0x8a, 10, 0x6c]), 'UNSUPPORTED_FILE', 'a pickle'],
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0]), 'UNSUPPORTED_FILE', 'gzip; unpack'],
    ['GGML', Buffer.from('tjgg\u0001\0\0\0'), 'UNSUPPORTED_FILE', 'from before GGUF'],
  ];
  test.each(FOREIGN)('%s in place of a GGUF file', async (_, content, code, message) => {
    const path = join(directory(), 'x.gguf');
    writeFileSync(path, content);
    await refused(openCheckpoint(path), code as 'INVALID_FILE', path, message);
  });

  test.each(FOREIGN)('%s in place of safetensors', async (_, content, code, message) => {
    const path = directory();
    new HfBuilder().write(path);
    writeFileSync(join(path, 'model.safetensors'), content);
    await refused(openCheckpoint(path), code as 'INVALID_FILE', 'model.safetensors: ', message);
  });

  const JSON_TEXT = FOREIGN.filter(([, content]) => !content.toString().startsWith('{'));
  test.each(JSON_TEXT)('%s in place of config.json', async (_, content, code, message) => {
    const path = directory();
    new HfBuilder().write(path);
    writeFileSync(join(path, 'config.json'), content);
    await refused(openCheckpoint(path), code as 'INVALID_FILE', 'config.json: ', message);
  });

  test('safetensors under the name of a GGUF file', async () => {
    const path = directory();
    new HfBuilder().write(path);
    renameSync(join(path, 'model.safetensors'), join(path, 'x.gguf'));
    const message = 'a safetensors file; its name must end in .safetensors';
    await refused(openCheckpoint(join(path, 'x.gguf')), 'UNSUPPORTED_FILE', 'x.gguf: ', message);
  });

  test('an adapter of PEFT names the model to open', async () => {
    const path = directory({
      'adapter_config.json': '{"base_model_name_or_path": "mistralai/Mistral-7B-v0.1"}',
      'adapter_model.safetensors': '',
    });
    const message = 'an adapter of PEFT, which is not a model; open "mistralai/Mistral-7B-v0.1"';
    await refused(openCheckpoint(path), 'UNSUPPORTED_FILE', path, message);
    const file = join(path, 'adapter_model.safetensors');
    await refused(openCheckpoint(file), 'UNSUPPORTED_FILE', path, message);
  });

  test('a directory of pickles, with or without a config.json', async () => {
    const path = directory({ 'pytorch_model.bin': 'PK\u0003\u0004' });
    await refused(openCheckpoint(path), 'UNSUPPORTED_FILE', 'pytorch_model.bin', 'pickles are not');
    new HfBuilder().write(path);
    rmSync(join(path, 'model.safetensors'));
    await refused(openCheckpoint(path), 'UNSUPPORTED_FILE', 'pytorch_model.bin', 'take the');
  });

  test('a cache of the Hub', async () => {
    const path = directory();
    mkdirSync(join(path, 'snapshots'));
    await refused(openCheckpoint(path), 'UNSUPPORTED_FILE', 'a cache of', join(path, 'snapshots'));
  });

  test('a directory without a model, and a config.json by itself', async () => {
    await refused(openCheckpoint(directory()), 'FILE_NOT_READABLE', "a model's directory holds");
    const path = directory();
    new HfBuilder().write(path);
    const config = join(path, 'config.json');
    await refused(openCheckpoint(config), 'UNSUPPORTED_FILE', `open its directory, "${path}"`);
  });

  test('a directory without a tokenizer', async () => {
    const path = directory();
    new HfBuilder().write(path);
    rmSync(join(path, 'tokenizer.model'));
    await refused(openCheckpoint(path), 'FILE_NOT_READABLE', path, 'holds no tokenizer');
    writeFileSync(join(path, 'tekken.json'), '{}');
    await refused(openCheckpoint(path), 'UNSUPPORTED_FILE', 'holds tekken.json');
  });
});

describe('readTokenizerSource', () => {
  test('a GGUF file, and a directory with one', async () => {
    const path = fixture('gguf/swa-Q4_0.gguf');
    const source = await readTokenizerSource(path);
    expect(source).toMatchObject({ kind: 'gguf', path, model: 'llama' });
    const copy = directory();
    cpSync(path, join(copy, 'x.gguf'));
    expect(await readTokenizerSource(copy)).toMatchObject({ kind: 'gguf', model: 'llama' });
  });

  test('a tokenizer.json by name or content, with its configuration', async () => {
    const text = ' {"model": {}}';
    const path = directory({ 'tokenizer.json': text, other: text, 'tokenizer_config.json': '{}' });
    for (const name of ['tokenizer.json', 'other']) {
      const source = await readTokenizerSource(join(path, name));
      expect(source).toEqual({
        kind: 'tokenizer.json',
        path: join(path, name),
        bytes: Buffer.from(text),
        config: { path: join(path, 'tokenizer_config.json'), bytes: Buffer.from('{}') },
      });
    }
    rmSync(join(path, 'tokenizer_config.json'));
    expect(await readTokenizerSource(path)).not.toHaveProperty('config');
  });

  test.each(['tokenizer.model', 'tokenizer.json'])(
    '%s comes with the files beside it that say more of the tokenizer',
    async (name) => {
      const path = directory({
        [name]: '\u000a',
        'tokenizer_config.json': '{"a":1}',
        'added_tokens.json': '{"b":2}',
        'special_tokens_map.json': '{"c":3}',
      });
      const beside = (file: string, text: string): unknown => {
        return { path: join(path, file), bytes: Buffer.from(text) };
      };
      const expected = {
        config: beside('tokenizer_config.json', '{"a":1}'),
        addedTokens: beside('added_tokens.json', '{"b":2}'),
        specialTokens: beside('special_tokens_map.json', '{"c":3}'),
      };
      expect(await readTokenizerSource(path)).toMatchObject(expected);
      expect(await readTokenizerSource(join(path, name))).toMatchObject(expected);
      new HfBuilder().write(path);
      writeFileSync(join(path, name), '\u000a');
      expect((await openCheckpoint(path)).tokenizer).toMatchObject(expected);
    },
  );

  test('anything else is a SentencePiece model', async () => {
    const path = directory({
      'tokenizer.model.v3': '\u000a\u0005hello',
      'tokenizer_config.json': '{}',
    });
    const expected = { kind: 'sentencepiece', bytes: Buffer.from('\u000a\u0005hello') };
    expect(await readTokenizerSource(join(path, 'tokenizer.model.v3'))).toMatchObject(expected);
    expect(await readTokenizerSource(path)).toMatchObject(expected);
  });

  test('tokenizer.model wins over tokenizer.json, which wins over other names', async () => {
    const path = directory({ 'a.model': 'a', 'b.model.v2': 'b' });
    await refused(
      readTokenizerSource(path),
      'FILE_NOT_READABLE',
      'a.model, b.model.v2: name the one',
    );
    writeFileSync(join(path, 'tokenizer.json'), '{}');
    expect((await readTokenizerSource(path)).kind).toBe('tokenizer.json');
    writeFileSync(join(path, 'tokenizer.model'), '\u000a');
    expect((await readTokenizerSource(path)).kind).toBe('sentencepiece');
  });

  test.each(['tokenizer.model', 'tokenizer.json'])(
    'a Git LFS pointer, or nothing, in place of %s',
    async (name) => {
      const path = directory({ [name]: LFS });
      await refused(readTokenizerSource(path), 'INVALID_FILE', name, 'a Git LFS pointer');
      writeFileSync(join(path, name), '');
      await refused(readTokenizerSource(path), 'INVALID_FILE', name, 'is empty');
    },
  );

  test('nothing there', async () => {
    await refused(readTokenizerSource(directory()), 'FILE_NOT_READABLE', 'holds no tokenizer');
    await refused(readTokenizerSource(join(root, 'none')), 'FILE_NOT_READABLE', 'no such file');
  });
});
