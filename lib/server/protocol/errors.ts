/** Errors as HTTP answers, in OpenAI's form. */
import { TramontaneError } from '../../errors';

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    /** The field of the request that is to blame. */
    readonly param: string | null;
    readonly code: string | null;
  };
}

interface Details {
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  /** Seconds after which another try may do. */
  readonly retryAfter?: number | undefined;
}

const TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
  500: 'server_error',
  501: 'not_implemented_error',
  503: 'overloaded_error',
};

/** What a request is answered with in place of a result. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(status: number, message: string, details: Details = {}) {
    super(message);
    this.status = status;
    this.param = details.param;
    this.code = details.code;
    this.retryAfter = details.retryAfter;
  }

  get type(): string {
    return TYPES[this.status] ?? (this.status < 500 ? 'invalid_request_error' : 'server_error');
  }

  get body(): ErrorBody {
    const { message, type, param = null, code = null } = this;
    return { error: { message, type, param, code } };
  }
}

/** What the server refuses, or ends, because it ends itself. */
export function shuttingDown(): ApiError {
  return new ApiError(503, 'the server is ending', { code: 'shutting_down', retryAfter: 5 });
}

/** A field of the request has a wrong value. */
export function badField(param: string, message: string, code = 'invalid_value'): ApiError {
  return new ApiError(400, message, { param, code });
}

/** Options of the package by the fields that they come from, where the names differ. */
const FIELDS: Readonly<Record<string, string>> = {
  allowedTokens: 'allowed_token_ids',
  choice: 'guided_choice',
  frequencyPenalty: 'frequency_penalty',
  grammar: 'guided_grammar',
  ignoreEos: 'ignore_eos',
  json: 'response_format',
  logitBias: 'logit_bias',
  maxTokens: 'max_tokens',
  minP: 'min_p',
  parallelToolCalls: 'parallel_tool_calls',
  presencePenalty: 'presence_penalty',
  regex: 'guided_regex',
  repetitionPenalty: 'repetition_penalty',
  stopTokens: 'stop_token_ids',
  toolChoice: 'tool_choice',
  topK: 'top_k',
  topP: 'top_p',
};

/** The field that a message of the package begins with, and the message in the request's words. */
function inFields(message: string): { readonly message: string; readonly param?: string } {
  const name = /^[A-Za-z]+/.exec(message)?.[0] ?? '';
  const param = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
  if (param !== undefined) return { message: param + message.slice(name.length), param };
  return /^(seed|stop|temperature|tools)\b/.test(message) ? { message, param: name } : { message };
}

const FORMS = ['guided_json', 'guided_regex', 'guided_choice', 'guided_grammar'];

/** The field that a grammar which cannot be had is of. */
function grammarField(message: string, body: object): string {
  if (message.startsWith('the parameters of the tool')) return 'tools';
  return FORMS.find((name) => Object.hasOwn(body, name)) ?? 'response_format';
}

/**
 * What a failure says to the client.
 * @param prompt the name of the field with the prompt
 * @param body of the request, where it was read
 */
export function apiError(error: unknown, prompt = 'prompt', body: object = {}): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof TramontaneError)) {
    return new ApiError(500, 'something went wrong in the server; its log says what', {
      code: 'internal_error',
    });
  }
  const { code, message } = error;
  switch (code) {
    case 'INVALID_PROMPT': {
      const isTooLong = /\b(context|KV cache)\b/.test(message);
      return badField(prompt, message, isTooLong ? 'context_length_exceeded' : 'invalid_prompt');
    }
    case 'INVALID_MESSAGES': {
      const messages = prompt === 'prompt' ? 'messages' : prompt;
      const { message: text, param = messages } = inFields(message);
      return badField(param, text, 'invalid_messages');
    }
    case 'INVALID_GRAMMAR':
      return badField(grammarField(message, body), message, 'invalid_grammar');
    case 'INVALID_OPTION': {
      const { message: text, param } = inFields(message);
      return new ApiError(400, text, { param, code: 'invalid_value' });
    }
    case 'QUEUE_FULL':
      return new ApiError(429, message, { code: 'queue_full', retryAfter: 1 });
    case 'DISPOSED':
      return shuttingDown();
    case 'OUT_OF_MEMORY':
      return new ApiError(503, message, { code: 'out_of_memory', retryAfter: 5 });
    default:
      return new ApiError(500, message, { code: code.toLowerCase() });
  }
}
