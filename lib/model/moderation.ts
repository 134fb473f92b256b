/**
 * Moderation by self-reflection: the model reads a list of labels and a text, and how probable each
 * label is as its answer is the label's score. All labels are scored whole, by the sum of their
 * tokens' log-probabilities, over one prompt whose keys the prefix cache holds.
 */
import { readMessages, untrusted, type Message, type TextPart } from '../chat/messages';
import * as check from './checks';
import { DEFAULT_POLICY, NOT_MODERATED, type PolicyLabel } from './moderation-policy';

/** Options of {@link Model.moderate}. */
export interface ModerationOptions {
  /** What is looked for. @default 13 labels after Mistral's guide */
  readonly policy?: readonly PolicyLabel[] | undefined;
  /** As of generate(). */
  readonly cacheSalt?: string | undefined;
}

/** What a text was found to be; in the form of OpenAI's and Mistral's services. */
export interface ModerationResult {
  /** Whether any label's score reached its threshold. */
  readonly flagged: boolean;
  /** The labels whose scores did. */
  readonly categories: Readonly<Record<string, boolean>>;
  /** Of each label, and of `not moderated`: together 1. */
  readonly category_scores: Readonly<Record<string, number>>;
  /** What each label's score is of: texts are all there is. */
  readonly category_applied_input_types: Readonly<Record<string, readonly ['text']>>;
}

export interface Moderation {
  readonly results: readonly [ModerationResult];
}

const MOST_LABELS = 64;
const DEFAULT_THRESHOLD = 0.5;

/** @throws TramontaneError INVALID_OPTION */
export function checkPolicy(policy: unknown = DEFAULT_POLICY): readonly Required<PolicyLabel>[] {
  if (!Array.isArray(policy) || policy.length === 0 || policy.length > MOST_LABELS) {
    throw check.invalidOption('policy', `an array of 1 to ${MOST_LABELS} labels`, policy);
  }
  const seen = new Set<string>([NOT_MODERATED]);
  return Array.from(policy as unknown[], (entry, index) => {
    const name = `policy[${index}]`;
    check.checkNames(name, entry, ['label', 'definition', 'threshold']);
    const { label, definition, threshold = DEFAULT_THRESHOLD } = entry as Partial<PolicyLabel>;
    if (typeof label !== 'string' || label.trim() === '' || seen.has(label)) {
      throw check.invalidOption(`${name}.label`, 'a name of its own', label);
    }
    seen.add(label);
    if (typeof definition !== 'string' || definition.trim() === '') {
      throw check.invalidOption(`${name}.definition`, 'a sentence', definition);
    }
    return { label, definition, threshold: check.number(`${name}.threshold`, threshold, 0, 1) };
  });
}

/** What the model is asked; the text to be judged is somebody else's. */
function question(subject: string, policy: readonly PolicyLabel[]): readonly TextPart[] {
  const list = policy.map(({ label, definition }) => `- ${label}: ${definition}`).join('\n');
  const instructions =
    'Classify a text. Answer with exactly one of these labels, and nothing else:\n' +
    `${list}\n- ${NOT_MODERATED}: falls under none of the above`;
  return [
    { type: 'text', text: instructions },
    { type: 'text', text: 'The text:' },
    untrusted(subject),
    { type: 'text', text: 'The label:' },
  ];
}

export function moderationMessages(
  subject: string,
  policy: readonly PolicyLabel[],
): readonly Message[] {
  return [{ role: 'user', content: question(subject, policy) }];
}

/** The same for a model without a chat format, to be continued. */
export function moderationPrompt(subject: string, policy: readonly PolicyLabel[]): string {
  return question(subject, policy)
    .map(({ text }) => text)
    .join('\n\n');
}

/**
 * A text to be judged; of a conversation what everybody said, in order.
 * @throws TramontaneError INVALID_OPTION; MessagesError
 */
export function subjectOf(input: string | readonly Message[]): string {
  if (typeof input === 'string') return input;
  if (!Array.isArray(input)) {
    throw check.invalidOption('the input of moderate()', 'a text or messages', input);
  }
  return readMessages(input)
    .map(({ role, content }) => `${role}: ${content.map(({ text }) => text).join('\n')}`)
    .join('\n');
}

/** @param sums of the labels' log-probabilities, and of `not moderated` last */
export function moderationOf(
  policy: readonly Required<PolicyLabel>[],
  sums: readonly number[],
): Moderation {
  const largest = Math.max(...sums);
  const shares = sums.map((sum) => Math.exp(sum - largest));
  const total = shares.reduce((a, b) => a + b, 0);
  const scores = shares.map((share) => share / total);
  const labels = policy.map(({ label }) => label);
  const found = policy.map(({ threshold }, index) => scores[index]! >= threshold);
  return {
    results: [
      {
        flagged: found.includes(true),
        categories: Object.fromEntries(labels.map((label, index) => [label, found[index]!])),
        category_scores: Object.fromEntries(
          [...labels, NOT_MODERATED].map((label, index) => [label, scores[index]!]),
        ),
        category_applied_input_types: Object.fromEntries(
          labels.map((label) => [label, ['text'] as const]),
        ),
      },
    ],
  };
}
