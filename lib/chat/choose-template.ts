/** Which chat format a model was trained on, from facts of its files: nothing is run to find out. */
import { createHash } from 'node:crypto';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { hasFim } from './mistral';
import type { ChatTemplate } from './encode-chat';

/** The format, and the fact that decided. */
export interface ChosenTemplate {
  readonly template: ChatTemplate;
  readonly source: string;
}

/**
 * Hashes of templates in circulation. Those of Mistral's own models differ from what the models were
 * trained on (the first of v0.1 and v0.2 in every conversation of several turns; one of v0.3 drops
 * system messages), so that the built-in format stands for them.
 */
const KNOWN: ReadonlyMap<string, ChatTemplate> = new Map([
  ['7e995b379ec01747807246483647cd99030abf331653f1119e16d7ac041a3495', 'mistral-v1'],
  ['26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7', 'mistral-v1'],
  ['796853172235ab3aaa4810013ddfe2eab481bda3306dad4f700c00d436eed596', 'mistral-v1'],
  ['139e1b4d7a86cda59c8c22c0b7e331a18fb0b4dba4b7318c47ccffae71c32af9', 'mistral-v1'],
  ['5f2a0e910028f7b2ff65680282df4f19da6b52fe90bab0414d2bf9d3fee8c1b0', 'mistral-v2'],
  ['225aaeb28812e3ea17ec7ce3963b705811ea431cfefc8cef624e0f2930f8e7e3', 'mistral-v3'],
  ['e16746b40344d6c5b5265988e0328a0bf7277be86f1c335156eae07e29c82826', 'mistral-v3'],
  ['e71b11acee22c70e33bf3052f333bc82683d0f3985bd7be10964f6712d4d079b', 'mistral-v3'],
]);

/** What a template of a style has, and no other. */
const SIGNS: readonly (readonly [sign: string, template: ChatTemplate])[] = [
  ['<|im_start|>', 'chatml'],
  ['GPT4 Correct User', 'openchat'],
  ['<|user|>', 'zephyr'],
  ['### Instruction:', 'alpaca'],
  ['USER:', 'vicuna'],
];

/**
 * @param chatTemplate the file's, in Jinja
 * @returns undefined for a model without any, such as a base model
 */
export function chooseTemplate(
  tokenizer: Tokenizer,
  chatTemplate: string | undefined,
): ChosenTemplate | undefined {
  const hasV3 = tokenizer.isControl(tokenizer.idOf('[TOOL_RESULTS]') ?? -1);
  const ownFormat = hasV3 ? (hasFim(tokenizer) ? 'mistral-v3' : 'mistral-v2') : 'mistral-v1';
  if (chatTemplate === undefined) {
    // Base models of v0.3 have the tokens too, but were not trained to answer.
    return undefined;
  }
  const known = KNOWN.get(createHash('sha256').update(chatTemplate).digest('hex'));
  if (known !== undefined) {
    // All of them are Mistral's; which it is the vocabulary knows best.
    return { template: hasV3 ? ownFormat : known, source: "hash of the file's template" };
  }
  for (const [sign, template] of SIGNS) {
    if (!chatTemplate.includes(sign)) continue;
    if (template === 'chatml' && !tokenizer.isControl(tokenizer.idOf('<|im_end|>') ?? -1)) continue;
    if (chatTemplate.includes('tool')) break; // It may write tools in a way of its own.
    return { template, source: `${sign} in the file's template` };
  }
  if (chatTemplate.includes('[INST]') && !chatTemplate.includes('<<SYS>>')) {
    return { template: ownFormat, source: "[INST] in the file's template, and the vocabulary" };
  }
  return { template: { jinja: chatTemplate }, source: "the file's template" };
}
