/** The embedded model and SmolLM2 against what transformers computed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Model } from '../../lib';
import { describeWithReference, fixture } from '../reference';
import { certainLength, checkTeacherForced } from './reference-logits';

interface Story {
  readonly prompt: string;
  readonly chat: boolean;
  readonly prompt_ids: number[];
  readonly ids: number[];
  readonly margin: number[];
}

interface Form {
  readonly perplexity: number;
  readonly stories: Story[];
}

type Breeze = { readonly text_ids: number[] } & Readonly<Record<string, Form>>;

const breeze = JSON.parse(readFileSync(fixture('demo/breeze.json'), 'utf8')) as Breeze;

/** Free-running in the exact mode, teacher-forced by default, and the perplexity in both. */
function testForm(path: string, form: Form): void {
  test('exact mode: greedy stories equal the reference while it is certain', async () => {
    await using model = await Model.load(path, { compute: 'f32', kvCacheType: 'f32' });
    let checked = 0;
    for (const story of form.stories) {
      const options = { temperature: 0, maxTokens: story.ids.length };
      const { tokenIds } = await model.generate(story.prompt_ids, options).result();
      const certain = certainLength(story.margin, 0.02);
      expect(tokenIds.slice(0, certain)).toEqual(story.ids.slice(0, certain));
      checked += certain;
    }
    expect(checked).toBeGreaterThan(20);
    const perplexity = await model.perplexity(breeze.text_ids);
    expect(Math.abs(perplexity / form.perplexity - 1)).toBeLessThan(1e-3);
  });

  test('by default: the same token wherever it is certain, perplexity within 1%', async () => {
    await using model = await Model.load(path);
    let checked = 0;
    for (const { prompt_ids, ids, margin } of form.stories) {
      checked += await checkTeacherForced(model, prompt_ids, ids, margin, 0.25);
    }
    expect(checked).toBeGreaterThan(100);
    const perplexity = await model.perplexity(breeze.text_ids);
    expect(Math.abs(perplexity / form.perplexity - 1)).toBeLessThan(0.01);
  });
}

function form(name: string): Form {
  const found = breeze[name];
  if (!found) throw new Error(`breeze.json has no ${name}`);
  return found;
}

describe('the embedded model', () => {
  const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
  testForm(path, form('breeze-Q4_0'));

  test('a text prompt gets the tokens the reference has', async () => {
    await using model = await Model.load(path);
    for (const story of form('breeze-Q4_0').stories.filter(({ chat }) => !chat)) {
      const { usage } = await model.generate(story.prompt, { maxTokens: 1 }).result();
      expect(usage.promptTokens).toBe(story.prompt_ids.length);
      expect(model.tokenizer.encode(story.prompt, { bos: true })).toEqual(story.prompt_ids);
    }
  });
});

describeWithReference('the embedded model in bf16', (directory) => {
  testForm(join(directory, 'demo/breeze-hf'), form('breeze-bf16'));
});

describeWithReference('the embedded model in GPTQ, 4 bits with act-order', (directory) => {
  testForm(join(directory, 'demo/breeze-gptq'), form('breeze-gptq'));
});

interface SmolLm {
  readonly text_ids: number[];
  readonly perplexity: number;
  readonly nll: number[];
  readonly last_top20: [number, number][];
  readonly greedy: { prompt_ids: number[]; ids: number[]; margin: number[] }[];
}

describeWithReference(
  'SmolLM2-135M: tied embeddings, Q4_1 and Q8_0, byte-level BPE',
  (directory) => {
    const path = join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
    const reference = JSON.parse(
      readFileSync(join(directory, 'smollm2/smollm2-135m-instruct.json'), 'utf8'),
    ) as SmolLm;

    test('exact mode: greedy text equals the reference while it is certain', async () => {
      await using model = await Model.load(path, { compute: 'f32', kvCacheType: 'f32' });
      for (const { prompt_ids, ids, margin } of reference.greedy) {
        const options = { temperature: 0, maxTokens: ids.length };
        const { tokenIds } = await model.generate(prompt_ids, options).result();
        const certain = certainLength(margin, 0.02);
        expect(tokenIds.slice(0, certain)).toEqual(ids.slice(0, certain));
      }
    });

    test('by default: the same token wherever it is certain, pooled over the texts', async () => {
      await using model = await Model.load(path);
      let checked = 0;
      for (const { prompt_ids, ids, margin } of reference.greedy) {
        checked += await checkTeacherForced(model, prompt_ids, ids, margin, 0.25);
      }
      expect(checked).toBeGreaterThan(20);
      const perplexity = await model.perplexity(reference.text_ids);
      expect(Math.abs(perplexity / reference.perplexity - 1)).toBeLessThan(0.01);
    });

    test('no BOS is put before a prompt, as the file says', async () => {
      await using model = await Model.load(path);
      const { usage } = await model.generate('The capital of France is', { maxTokens: 1 }).result();
      expect(usage.promptTokens).toBe(5);
    });
  },
);
