import type { Message } from './messages';

/** The system prompt that Mistral publishes for guardrails (docs.mistral.ai, Guardrailing). */
export const SAFE_PROMPT =
  'Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid ' +
  'harmful, unethical, prejudiced, or negative content. Ensure replies promote fairness and ' +
  'positivity.';

/**
 * A conversation with a guarding system prompt before all others; each format puts it where its
 * model looks for it.
 * @param safePrompt true: Mistral's text
 */
export function withSafePrompt(
  messages: readonly Message[],
  safePrompt: boolean | string,
): readonly Message[] {
  if (safePrompt === false) return messages;
  const content = safePrompt === true ? SAFE_PROMPT : safePrompt;
  return [{ role: 'system', content }, ...messages];
}
