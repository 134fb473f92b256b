import { type Api, type ChatRequest, ServerError } from './api';
import type { Answer } from './conversation';

/** Fills the answer from the server's stream; `changed` is called after each piece. */
export async function generate(
  api: Api,
  request: ChatRequest,
  answer: Answer,
  signal: AbortSignal,
  changed: () => void,
): Promise<void> {
  const start = performance.now();
  let first = start;
  let pieces = 0;
  let finish: string | undefined;
  try {
    for await (const event of api.chat(request, signal)) {
      if (event.kind === 'text') {
        const now = performance.now();
        if (pieces === 0) first = now;
        pieces++;
        answer.content += event.text;
        answer.figures = {
          promptTokens: undefined,
          tokens: pieces,
          exact: false,
          firstSeconds: (first - start) / 1000,
          seconds: (now - first) / 1000,
        };
      } else if (event.kind === 'finish') {
        finish = event.reason;
      } else {
        answer.figures = {
          firstSeconds: 0,
          seconds: 0,
          ...answer.figures,
          promptTokens: event.usage.prompt,
          tokens: event.usage.completion,
          exact: true,
        };
      }
      changed();
    }
    if (finish === undefined) throw new ServerError('The connection ended before the answer.', 0);
    answer.outcome = finish === 'length' ? 'length' : 'stop';
  } catch (error) {
    answer.outcome = signal.aborted ? 'stopped' : 'failed';
    if (!signal.aborted) throw error;
  } finally {
    changed();
  }
}
