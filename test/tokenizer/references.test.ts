/** Every case of the reference data, whose values other programs computed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer } from '../../lib/tokenizer/load';
import { TokenStream } from '../../lib/tokenizer/streaming/token-stream';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { describeWithReference, fixture } from '../reference';

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly decoded?: string;
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

interface Cases {
  readonly cases: Case[];
  readonly vocabSize: number;
  readonly bos: number;
  readonly eos: number;
}

function readCases(path: string): Cases {
  return readJson(path) as Cases;
}

/** What differs: empty when every case is equal. */
function differences(tokenizer: Tokenizer, cases: readonly Case[], bos = false): unknown[] {
  const found: unknown[] = [];
  for (const { text, ids, decoded } of cases) {
    const encoded = tokenizer.encode(text, { bos });
    if (JSON.stringify(encoded) !== JSON.stringify(ids)) found.push({ text, ids, encoded });
    const back = tokenizer.decode(ids);
    if (decoded !== undefined && back !== decoded) found.push({ ids, decoded, back });
  }
  return found;
}

describe('small vocabularies, in all kinds of file', () => {
  test.each(['v1-384', 'v3-419'])('%s.model: as SentencePiece', async (name) => {
    const folder = fixture('tokens/tokenizer-json');
    const tokenizer = await loadTokenizer(join(folder, `${name}.model`));
    const { cases } = readCases(join(folder, `${name}.sentencepiece.json`));
    expect(cases.length).toBe(120);
    expect(differences(tokenizer, cases)).toEqual([]);
  });

  test.each(['v1-384-prepend', 'v1-384-metaspace', 'v3-419-prepend', 'v3-419-metaspace'])(
    '%s.tokenizer.json: as tokenizers',
    async (name) => {
      const folder = fixture('tokens/tokenizer-json');
      const tokenizer = await loadTokenizer(join(folder, `${name}.tokenizer.json`));
      const { cases } = readCases(join(folder, `${name}.expected.json`));
      expect(cases.length).toBe(120);
      expect(differences(tokenizer, cases, true)).toEqual([]);
      expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, addBos: true });
    },
  );

  test('a GGUF file with the same vocabulary: as SentencePiece', async () => {
    const tokenizer = await loadTokenizer(fixture('gguf/swa-Q4_0.gguf'));
    const path = fixture('tokens/tokenizer-json/v1-384.sentencepiece.json');
    expect(differences(tokenizer, readCases(path).cases)).toEqual([]);
    expect(tokenizer).toMatchObject({ vocabularySize: 384, bosId: 1, eosId: 2, addBos: true });
  });
});

describeWithReference('Mistral vocabularies', (reference) => {
  const models = {
    v1: 'tokenizer.model.v1',
    v2: 'mistral_instruct_tokenizer_240216.model.v2',
    v3: 'mistral_instruct_tokenizer_240323.model.v3',
  };

  test.each(Object.entries(models))('%s: every text', async (version, file) => {
    const tokenizer = await loadTokenizer(join(reference, 'tokenizers', file));
    const data = readCases(join(reference, `tokens/tokenizer/${version}.json`));
    expect(data.cases.length).toBeGreaterThan(200);
    expect(differences(tokenizer, data.cases)).toEqual([]);
    expect(tokenizer).toMatchObject({
      vocabularySize: data.vocabSize,
      bosId: data.bos,
      eosId: data.eos,
      addBos: true,
    });
  });

  test('streams: the text after each id, and at the end', async () => {
    interface Stream {
      readonly model: 'v1' | 'v3';
      readonly note: string;
      readonly ids: number[];
      readonly pieces: string[];
      readonly flush: string;
      readonly text: string;
      readonly spmDecode?: string;
    }
    const path = join(reference, 'tokens/tokenizer/stream.json');
    const { cases } = readJson(path) as { cases: Stream[] };
    expect(cases.length).toBe(35);
    const tokenizers = {
      v1: await loadTokenizer(join(reference, 'tokenizers', models.v1)),
      v3: await loadTokenizer(join(reference, 'tokenizers', models.v3)),
    };
    for (const { model, note, ids, pieces, flush, text, spmDecode } of cases) {
      const tokenizer = tokenizers[model];
      const stream = new TokenStream(tokenizer);
      const streamed = { note, pieces: ids.map((id) => stream.push(id)), flush: stream.flush() };
      expect(streamed).toEqual({ note, pieces, flush });
      expect(streamed.pieces.join('') + streamed.flush).toBe(text);
      expect(tokenizer.decode(ids)).toBe(spmDecode ?? text);
    }
  });
});

describeWithReference('byte-level BPE of SmolLM2', (reference) => {
  interface Smol {
    readonly text: string;
    readonly text_ids: number[];
    readonly tokenize: Case[];
    readonly greedy: { prompt: string; prompt_ids: number[]; ids: number[]; text: string }[];
  }
  const data = (): Smol => readJson(join(reference, 'smollm2/smollm2-135m-instruct.json')) as Smol;
  const load = (): Promise<Tokenizer> =>
    loadTokenizer(join(reference, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'));

  test('texts, both ways', async () => {
    const tokenizer = await load();
    const { text, text_ids: ids, tokenize, greedy } = data();
    const both = (one: Case): Case => ({ ...one, decoded: one.text });
    const cases = [{ text, ids }, ...tokenize].map(both);
    const plain = greedy.filter(({ prompt }) => !prompt.includes('<|im_start|>'));
    cases.push(...plain.map(({ prompt, prompt_ids: ids }) => both({ text: prompt, ids })));
    expect(cases.length).toBe(12);
    expect(differences(tokenizer, cases)).toEqual([]);
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, addBos: false });
  });

  test('generated text; the end token has none', async () => {
    const tokenizer = await load();
    for (const { ids, text } of data().greedy) {
      expect(tokenizer.decode(ids)).toBe(text.replace(/<\|im_end\|>$/, ''));
    }
  });
});

describeWithReference('the embedded model', (reference) => {
  interface Story {
    readonly prompt: string;
    readonly chat: boolean;
    readonly prompt_ids: number[];
    readonly ids: number[];
    readonly text: string;
  }
  test.each([
    ['breeze-Q4_0', 'breeze-Q4_0.gguf'],
    ['breeze-bf16', 'breeze-hf'],
    ['breeze-gptq', 'breeze-gptq'],
  ])('%s: prompts and stories', async (name, file) => {
    const tokenizer = await loadTokenizer(join(reference, 'demo', file));
    const data = readJson(fixture('demo/breeze.json')) as Record<string, { stories: Story[] }>;
    for (const { prompt, chat, prompt_ids: promptIds, ids, text } of data[name]!.stories) {
      expect(tokenizer.decode(ids)).toBe(text);
      if (chat) continue;
      expect(tokenizer.encode(prompt, { bos: tokenizer.addBos })).toEqual(promptIds);
    }
  });
});
