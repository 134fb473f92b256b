import type { ServerError } from './api';

export interface Advice {
  readonly title: string;
  readonly todo: string;
}

const FIELDS: Readonly<Record<string, string>> = {
  temperature: 'Temperature',
  top_p: 'Top p',
  max_tokens: 'Max tokens',
  seed: 'Seed',
  stop: 'Stop at',
  response_format: 'Form of the answer',
};

/** What to do about an answer that did not come. */
export function adviceOn(error: ServerError): Advice {
  const again =
    error.retryAfter === undefined
      ? 'Try again in a while.'
      : `Try again in ${error.retryAfter} ${error.retryAfter === 1 ? 'second' : 'seconds'}.`;
  switch (error.status) {
    case 0:
      return {
        title: 'The server cannot be reached',
        todo: 'See whether it is running and whether this machine has a network, then try again.',
      };
    case 401:
      return { title: 'A key is needed', todo: 'Try again, and give the key of this server.' };
    case 403:
      return { title: 'Not allowed', todo: 'The key is known, but not good for this.' };
    case 404:
      return { title: 'Not found', todo: 'Choose another model above; the list may have changed.' };
    case 413:
      return TOO_LONG;
    case 429:
      return { title: 'The server is busy', todo: again };
    case 503:
      return { title: 'The server is starting or stopping', todo: again };
  }
  if (error.status >= 500) {
    return { title: 'The server failed', todo: 'Try again; its log says what happened.' };
  }
  if (error.code === 'context_length_exceeded') return TOO_LONG;
  const field = FIELDS[/^\w+/.exec(error.param ?? '')?.[0] ?? ''];
  return {
    title: 'The server refused the request',
    todo:
      field === undefined
        ? 'Change the message or the options, then try again.'
        : `Change “${field}” under Options, then try again.`,
  };
}

const TOO_LONG: Advice = {
  title: 'The conversation is too long for the model',
  todo: 'Start a new chat, or shorten the message or the system prompt.',
};
