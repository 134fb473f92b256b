/** Fields that say how tokens are drawn, and what they are as options of a generation. */
import type { GenerateOptions } from '../../model/generate-options';
import type { JsonSchema } from '../../model/schema';
import type { Settings } from '../options';
import { badField } from './errors';
import { flag, honoured, integer, number, refused, text, type Fields } from './fields';

const BIG = Number.MAX_SAFE_INTEGER;
const stops = { anyOf: [text, { type: 'array', items: text, maxItems: 64 }] };
const ids = { type: 'array', items: integer(0, 2 ** 31 - 1), maxItems: 100_000 };

/** Of every request that generates. */
export const SAMPLING_FIELDS: Fields = {
  temperature: honoured('From 0 (the best token) to 2; 1 where it is left out.', number(0, 2)),
  top_p: honoured('Among the best tokens that together have this probability.', number(0, 1)),
  frequency_penalty: honoured('-2 to 2.', number(-2, 2)),
  presence_penalty: honoured('-2 to 2.', number(-2, 2)),
  logit_bias: honoured('Added to logits, by token id; -100 bans one.', {
    type: 'object',
    additionalProperties: number(-100, 100),
  }),
  seed: honoured('The same seed and request give the same text.', integer(-BIG, BIG)),
  stop: honoured('A text, or up to 64, that end the answer.', stops),
  user: honoured('Of the client; for the log.', text),
};

/** What vLLM and others have beside OpenAI's fields. */
export const EXTRA_FIELDS: Fields = {
  top_k: honoured('Among so many of the best tokens; 0 or -1: all.', integer(-1, BIG)),
  min_p: honoured('Leaves out tokens below this part of the best.', number(0, 1)),
  repetition_penalty: honoured('0.01 to 100.', number(0.01, 100)),
  ignore_eos: honoured('Go on after end tokens.', flag),
  stop_token_ids: honoured('Further tokens that end the answer.', ids),
  allowed_token_ids: honoured('Only these tokens.', ids),
  guided_json: honoured('JSON Schema of the answer.', { type: ['object', 'boolean'] }),
  guided_regex: honoured('Regular expression of the answer.', text),
  guided_choice: honoured('The answer is one of these.', { type: 'array', items: text }),
  guided_grammar: honoured('GBNF grammar of the answer.', text),
  min_tokens: refused('answers end where the model ends them.', 0),
  use_beam_search: refused('tokens are drawn.', false),
  random_seed: honoured("Mistral's name of seed.", integer(0, BIG)),
};

export interface SamplingBody {
  readonly temperature?: number;
  readonly top_p?: number;
  readonly frequency_penalty?: number;
  readonly presence_penalty?: number;
  readonly logit_bias?: Readonly<Record<string, number>>;
  readonly seed?: number;
  readonly random_seed?: number;
  readonly stop?: string | readonly string[];
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
  readonly ignore_eos?: boolean;
  readonly stop_token_ids?: readonly number[];
  readonly allowed_token_ids?: readonly number[];
  readonly guided_json?: object | boolean;
  readonly guided_regex?: string;
  readonly guided_choice?: readonly string[];
  readonly guided_grammar?: string;
}

/** Whose answer is JSON, by the field `response_format`. */
export const RESPONSE_FORMAT = {
  type: 'object',
  required: ['type'],
  properties: {
    type: { enum: ['text', 'json_object', 'json_schema'] },
    json_schema: {
      type: 'object',
      required: ['name'],
      properties: {
        name: { type: 'string', maxLength: 64 },
        description: text,
        schema: { type: ['object', 'boolean'] },
        strict: { type: ['boolean', 'null'] },
      },
      additionalProperties: false,
    },
  },
  additionalProperties: false,
};

export interface ResponseFormat {
  readonly type: 'text' | 'json_object' | 'json_schema';
  readonly json_schema?: { readonly name: string; readonly schema?: object | boolean };
}

/** Seeds of clients may be negative, ours are 0 to 2^53: two's complement, so that each is its own. */
function seedOf(seed: number): number {
  return Number(BigInt.asUintN(53, BigInt(seed)));
}

function jsonOf(format: ResponseFormat | undefined): object | boolean | undefined {
  if (format?.type === 'json_object') return { type: 'object' };
  if (format?.type !== 'json_schema') return undefined;
  if (format.json_schema === undefined) {
    throw badField('response_format.json_schema', 'response_format.json_schema is missing');
  }
  return format.json_schema.schema ?? true;
}

/**
 * @param choice which of several answers: each has a seed of its own
 * @throws ApiError where two fields say what the answer's form is
 */
export function samplingOptions(
  body: SamplingBody,
  {
    responseFormat,
    choice = 0,
  }: { responseFormat?: ResponseFormat | undefined; choice?: number } = {},
): GenerateOptions {
  const seed = body.seed ?? body.random_seed;
  const json = body.guided_json ?? jsonOf(responseFormat);
  const { top_k: topK, logit_bias: bias, stop } = body;
  return withoutUndefined({
    // topP 0 asks for the best token alone, which the temperature 0 has.
    temperature: body.top_p === 0 ? 0 : (body.temperature ?? 1),
    topP: body.top_p === 0 ? undefined : body.top_p,
    topK: topK === -1 ? 0 : topK,
    minP: body.min_p,
    seed: seed === undefined ? undefined : seedOf(seed + choice),
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    repetitionPenalty: body.repetition_penalty,
    logitBias:
      bias &&
      Object.fromEntries(
        Object.entries(bias).map(([id, value]) => [id, value === -100 ? -Infinity : value]),
      ),
    stop: typeof stop === 'string' ? [stop].filter(Boolean) : stop,
    stopTokens: body.stop_token_ids,
    allowedTokens: body.allowed_token_ids,
    ignoreEos: body.ignore_eos,
    json: json as JsonSchema | undefined,
    regex: body.guided_regex,
    choice: body.guided_choice,
    grammar: body.guided_grammar,
  });
}

/** What a request may generate at most. */
export function mostTokens(
  asked: number | undefined,
  { maxTokensCap }: Settings,
): { readonly maxTokens?: number } {
  if (asked === undefined && maxTokensCap === Infinity) return {};
  return { maxTokens: Math.min(asked ?? Infinity, maxTokensCap) };
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
