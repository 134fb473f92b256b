/** What a request used, and why its answers ended. */
import type { FinishReason, GenerationResult } from '../../model/generation';

/** In OpenAI's form. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

const total = (
  results: readonly GenerationResult[],
  of: (usage: GenerationResult['usage']) => number,
) => results.reduce((sum, { usage }) => sum + of(usage), 0);

/**
 * @param results of all answers
 * @param prompts of one answer to each prompt: where there are several, they share it
 */
export function usageOf(
  results: readonly GenerationResult[],
  prompts: readonly GenerationResult[] = results.slice(0, 1),
): Usage {
  const prompt = total(prompts, ({ promptTokens }) => promptTokens);
  const completion = total(results, ({ completionTokens }) => completionTokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: total(prompts, ({ cachedTokens }) => cachedTokens) },
  };
}

export function finishReason(reason: FinishReason): 'stop' | 'length' | 'content_filter' {
  return reason === 'refused' ? 'content_filter' : reason === 'length' ? 'length' : 'stop';
}
