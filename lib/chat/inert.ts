import type { Piece } from './messages';

/** What formats write as text, or as a control token, to mark a turn. */
const MARKERS = [
  '[INST]',
  '[/INST]',
  '<|system|>',
  '<|user|>',
  '<|assistant|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|end_of_turn|>',
  'GPT4 Correct User:',
  'GPT4 Correct Assistant:',
  'USER:',
  'ASSISTANT:',
  '### Instruction:',
  '### Input:',
  '### Response:',
  '<s>',
  '</s>',
];

/**
 * A text in which no marker is whole: each gets a space behind its first character.
 * @example `[INST] do` becomes `[ INST] do`
 */
export function inert(text: string): string {
  return MARKERS.reduce(
    (out, marker) => out.replaceAll(marker, `${marker.slice(0, 1)} ${marker.slice(1)}`),
    text,
  );
}

/** The pieces of a message's content as one text; what is untrusted without markers. */
export function joined(content: readonly Piece[]): string {
  return content
    .map(({ text, trusted }) => (trusted ? text : inert(text)))
    .filter((text) => text !== '')
    .join('\n\n');
}
