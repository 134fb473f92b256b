/** POST /v1/completions */
import type { GenerationResult, LogprobInfo } from '../../model/generation';
import { addRoute, newId, unixTime, type Call, type Context } from '../context';
import type { Served } from '../models';
import { badField } from '../protocol/errors';
import { flag, honoured, inert, integer, refused, text, type Fields } from '../protocol/fields';
import { completionLogprobs } from '../protocol/logprobs';
import {
  EXTRA_FIELDS,
  mostTokens,
  RESPONSE_FORMAT,
  SAMPLING_FIELDS,
  samplingOptions,
  type ResponseFormat,
  type SamplingBody,
} from '../protocol/sampling';
import { finishReason, usageOf } from '../protocol/usage';
import { aboutTokens, type Job, type JobOptions } from '../work';

const MOST_CHOICES = 128;
/** OpenAI's: of a completion that names no number. */
const DEFAULT_TOKENS = 16;

const tokens = { type: 'array', items: integer(0, 2 ** 31 - 1), minItems: 1 };

export const STREAM_OPTIONS = {
  type: 'object',
  properties: { include_usage: flag, include_obfuscation: flag, continuous_usage_stats: flag },
  additionalProperties: false,
};

export const COMPLETION_FIELDS: Fields = {
  model: honoured('A name of a model; may be left out where there is one.', text),
  prompt: honoured('A text, token ids, or an array of either.', {
    anyOf: [
      text,
      { type: 'array', items: text, minItems: 1, maxItems: MOST_CHOICES },
      tokens,
      { type: 'array', items: tokens, minItems: 1, maxItems: MOST_CHOICES },
    ],
  }),
  max_tokens: honoured(`Most tokens of the answer; ${DEFAULT_TOKENS} where it is left out.`, {
    type: 'integer',
    minimum: 1,
  }),
  n: honoured('Answers to each prompt.', integer(1, MOST_CHOICES)),
  best_of: refused('ask for n answers, with logprobs, and choose.', 1),
  echo: honoured('The prompt before the answer; not with logprobs.', flag),
  logprobs: honoured('Log-probabilities, and of so many alternatives.', integer(0, 5)),
  stream: honoured('Events instead of one answer.', flag),
  stream_options: honoured('include_usage.', STREAM_OPTIONS),
  suffix: honoured('What comes behind the answer; models with tokens for it.', text),
  response_format: honoured('JSON, by a schema or any.', RESPONSE_FORMAT),
  ...SAMPLING_FIELDS,
  ...EXTRA_FIELDS,
  add_special_tokens: inert('The model file says whether BOS goes first.', flag),
};

interface CompletionBody extends SamplingBody {
  readonly model?: string;
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  readonly max_tokens?: number;
  readonly n?: number;
  readonly echo?: boolean;
  readonly logprobs?: number;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly suffix?: string;
  readonly response_format?: ResponseFormat;
}

type OnePrompt = string | readonly number[];

function promptsOf(prompt: CompletionBody['prompt']): readonly OnePrompt[] {
  if (typeof prompt === 'string') return [prompt];
  return typeof prompt[0] === 'number'
    ? [prompt as readonly number[]]
    : (prompt as readonly OnePrompt[]);
}

interface Choice {
  readonly text: string;
  readonly index: number;
  readonly logprobs: object | null;
  readonly finish_reason: string | null;
}

/** The jobs of a request: `n` for each prompt, in order. */
function jobsOf(body: CompletionBody, { model }: Served, call: Call): readonly Job[] {
  const { n = 1, suffix, logprobs } = body;
  const prompts = promptsOf(body.prompt);
  if (prompts.length * n > MOST_CHOICES) {
    throw badField('n', `prompts times n may be ${MOST_CHOICES} at most`);
  }
  return prompts.flatMap((prompt) =>
    Array.from({ length: n }, (_, choice) => {
      const options = {
        ...samplingOptions(body, { responseFormat: body.response_format, choice }),
        ...mostTokens(body.max_tokens ?? DEFAULT_TOKENS, call.context.settings),
        ...(logprobs !== undefined && { logprobs }),
      };
      if (suffix !== undefined && typeof prompt !== 'string') {
        throw badField('suffix', 'suffix goes with a prompt of text');
      }
      return {
        promptTokens: typeof prompt === 'string' ? aboutTokens(prompt) : prompt.length,
        start: (job: JobOptions) =>
          suffix === undefined
            ? model.generate(prompt, { ...options, ...job })
            : model.fim(prompt as string, suffix, { ...options, ...job }),
      };
    }),
  );
}

async function complete(body: CompletionBody, call: Call): Promise<object | undefined> {
  const served = call.context.models.find(body.model);
  const { tokenizer } = served.model;
  const { n = 1, echo = false, logprobs, stream: streams = false } = body;
  if (echo && logprobs !== undefined) {
    throw badField('echo', 'echo with logprobs is not supported', 'unsupported_parameter');
  }
  const prompts = promptsOf(body.prompt);
  const jobs = jobsOf(body, served, call);
  const echoes = jobs.map((_, index) => {
    const prompt = prompts[Math.floor(index / n)]!;
    return !echo ? '' : typeof prompt === 'string' ? prompt : tokenizer.decode(prompt);
  });
  const events = call.work(served).run(jobs);
  const head = {
    id: newId('cmpl-'),
    object: 'text_completion',
    created: unixTime(),
    model: served.name,
    system_fingerprint: served.fingerprint,
  };
  const offsets = echoes.map((text) => text.length);
  const choiceOf = (
    index: number,
    text: string,
    infos: readonly LogprobInfo[] | undefined,
    reason: string | null,
  ): Choice => {
    const logprobs = infos ? completionLogprobs(tokenizer, infos, offsets[index]!) : null;
    offsets[index]! += text.length;
    return { text, index, logprobs, finish_reason: reason };
  };
  const results: GenerationResult[] = [];

  if (!streams) {
    const infos: LogprobInfo[][] = jobs.map(() => []);
    for await (const { index, chunk, result } of events) {
      infos[index]!.push(...(chunk?.logprobs ?? []));
      if (result) results[index] = result;
    }
    const choices = results.map((result, index) =>
      choiceOf(
        index,
        echoes[index]! + result.text,
        logprobs === undefined ? undefined : infos[index],
        finishReason(result.finishReason),
      ),
    );
    return { ...head, choices, usage: usageOf(results, firstOfEach(results, n)) };
  }

  const usage = body.stream_options?.include_usage === true ? { usage: null } : {};
  return call.stream(async (stream) => {
    for await (const { index, chunk, result } of events) {
      if (result) results[index] = result;
      if (!chunk) continue;
      const reason = chunk.finishReason ? finishReason(chunk.finishReason) : null;
      const text = echoes[index]! + chunk.text;
      echoes[index] = '';
      const choice = choiceOf(index, text, chunk.logprobs, reason);
      await stream.send({ ...head, choices: [choice], ...usage });
    }
    if ('usage' in usage) {
      const sums = usageOf(results, firstOfEach(results, n));
      await stream.send({ ...head, choices: [], usage: sums });
    }
    await stream.send('[DONE]');
  });
}

/** The first of `n` answers to each prompt: they share it. */
function firstOfEach<T>(items: readonly T[], n: number): readonly T[] {
  return items.filter((_, index) => index % n === 0);
}

export function completionRoutes(context: Context): void {
  addRoute<CompletionBody>(context, {
    path: '/v1/completions',
    summary: 'Continues texts.',
    fields: COMPLETION_FIELDS,
    operation: 'text_completion',
    required: ['prompt'],
    answer: complete,
  });
}
