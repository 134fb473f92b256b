/** POST /v1/fim/completions, in Mistral's form. */
import type { GenerationResult } from '../../model/generation';
import { addRoute, newId, unixTime, type Call, type Context } from '../context';
import { flag, honoured, inert, text, type Fields } from '../protocol/fields';
import {
  EXTRA_FIELDS,
  mostTokens,
  SAMPLING_FIELDS,
  samplingOptions,
  type SamplingBody,
} from '../protocol/sampling';
import { finishReason, usageOf } from '../protocol/usage';
import { aboutTokens, type JobOptions } from '../work';
import { STREAM_OPTIONS } from './completions';

export const FIM_FIELDS: Fields = {
  model: honoured('A name of a model; may be left out where there is one.', text),
  prompt: honoured('What comes before.', text),
  suffix: honoured('What comes behind.', text),
  max_tokens: honoured('Most tokens of the answer.', { type: 'integer', minimum: 1 }),
  stream: honoured('Events instead of one answer.', flag),
  stream_options: honoured('include_usage.', STREAM_OPTIONS),
  ...SAMPLING_FIELDS,
  ...EXTRA_FIELDS,
  metadata: inert('Nothing is kept.', { type: 'object' }),
  prompt_cache_key: inert('Prompts that begin alike share their start anyway.', text),
};

interface FimBody extends SamplingBody {
  readonly model?: string;
  readonly prompt: string;
  readonly suffix?: string;
  readonly max_tokens?: number;
  readonly stream?: boolean;
}

async function fim(body: FimBody, call: Call): Promise<object | undefined> {
  const served = call.context.models.find(body.model);
  const { prompt, suffix = '' } = body;
  const options = {
    ...samplingOptions(body),
    ...mostTokens(body.max_tokens, call.context.settings),
  };
  const job = {
    promptTokens: aboutTokens(prompt + suffix),
    start: (job: JobOptions) => served.model.fim(prompt, suffix, { ...options, ...job }),
  };
  const events = call.work(served).run([job]);
  const head = { id: newId('fim-'), created: unixTime(), model: served.name };
  if (body.stream !== true) {
    let whole: GenerationResult | undefined;
    for await (const { result } of events) whole = result;
    const { text: content, finishReason: reason } = whole!;
    const choice = {
      index: 0,
      message: { role: 'assistant', content },
      finish_reason: finishReason(reason),
    };
    return { ...head, object: 'chat.completion', choices: [choice], usage: usageOf([whole!]) };
  }
  return call.stream(async (stream) => {
    const chunkHead = { ...head, object: 'chat.completion.chunk' };
    for await (const { chunk, result } of events) {
      if (chunk && chunk.text !== '') {
        const delta = { role: 'assistant', content: chunk.text };
        await stream.send({ ...chunkHead, choices: [{ index: 0, delta, finish_reason: null }] });
      }
      if (!result) continue;
      // Mistral's last chunk has the usage, asked for or not.
      const choice = {
        index: 0,
        delta: { content: '' },
        finish_reason: finishReason(result.finishReason),
      };
      await stream.send({ ...chunkHead, choices: [choice], usage: usageOf([result]) });
    }
    await stream.send('[DONE]');
  });
}

export function fimRoutes(context: Context): void {
  addRoute<FimBody>(context, {
    path: '/v1/fim/completions',
    summary: 'Writes what comes between two texts.',
    fields: FIM_FIELDS,
    operation: 'text_completion',
    required: ['prompt'],
    answer: fim,
  });
}
