/** Samples of a dataset as token ids, and which of them are learned. */
import type { Message, Tool } from '../chat/messages';
import { TramontaneError } from '../errors';
import { isObject } from '../files/json';
import type { FileUrl } from '../files/path';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { isTokenIds, type TokenIds } from '../tokenizer/token-ids';

/** A message; the answers of an assistant are learned, but for those of weight 0. */
export type TrainingMessage = Message & { readonly weight?: 0 | 1 };

/** One sample: a conversation, a completion of a prompt, a text that is learned whole, or its ids. */
export type TrainingSample =
  | { readonly messages: readonly TrainingMessage[]; readonly tools?: readonly Tool[] | null }
  | { readonly prompt: string; readonly completion: string }
  | { readonly text: string }
  /** All but the first are learned. */
  | { readonly tokens: TokenIds };

/** The path of a JSONL file with a sample on each line, or the samples. */
export type TrainingDataset = string | FileUrl | Iterable<TrainingSample>;

/** A sample as ids: `labels[i]` is the token that should follow `tokens[i]`, -1 if it is not learned. */
export interface Sample {
  readonly tokens: Int32Array;
  readonly labels: Int32Array;
}

/** How a model makes ids of samples. */
export interface SampleEncoder {
  readonly tokenizer: Tokenizer;
  readonly vocabularySize: number;
  /** A conversation's ids, and the ranges of them that the assistant wrote. */
  readonly encodeConversation: (
    messages: readonly TrainingMessage[],
    tools: readonly Tool[],
  ) => {
    readonly ids: readonly number[];
    readonly learned: readonly (readonly [number, number])[];
  };
}

const FORMS = 'messages (and tools), prompt and completion, text, or tokens';

/** @throws TramontaneError saying what is wrong with the sample */
export function encodeSample(value: unknown, encoder: SampleEncoder): Sample {
  if (!isObject(value)) throw wrong(`a sample must be an object with ${FORMS}`);
  const keys = Object.keys(value).sort().join();
  switch (keys) {
    case 'messages':
    case 'messages,tools': {
      const { messages, tools } = value;
      const { ids, learned } = encoder.encodeConversation(
        messages as readonly TrainingMessage[],
        (tools ?? []) as readonly Tool[],
      );
      return sampleOf(ids, learned);
    }
    case 'completion,prompt':
      return encodeCompletion(value, encoder);
    case 'text': {
      const ids = withEnds(stringOf(value, 'text'), encoder);
      return sampleOf(ids, [[1, ids.length]]);
    }
    case 'tokens': {
      const ids = idsOf(value['tokens'], encoder.vocabularySize);
      return sampleOf(ids, [[1, ids.length]]);
    }
  }
  throw wrong(`a sample must have ${FORMS}, but has ${keys === '' ? 'nothing' : keys}`);
}

/** The prompt and what follows are encoded as one text, since that is how they will be met. */
function encodeCompletion(value: Record<string, unknown>, encoder: SampleEncoder): Sample {
  const prompt = stringOf(value, 'prompt');
  const ids = withEnds(prompt + stringOf(value, 'completion'), encoder);
  const before = withEnds(prompt, encoder).slice(0, -1);
  let shared = 0;
  while (shared < before.length && before[shared] === ids[shared]) shared++;
  return sampleOf(ids, [[Math.max(1, shared), ids.length]]);
}

function stringOf(value: Record<string, unknown>, name: string): string {
  const text = value[name];
  if (typeof text !== 'string') throw wrong(`${name} must be a string`);
  return text;
}

function withEnds(text: string, { tokenizer }: SampleEncoder): number[] {
  const { eosId } = tokenizer;
  if (eosId === undefined) throw wrong('the vocabulary has no end token: give tokens');
  return [...tokenizer.encode(text, { bos: tokenizer.addBos }), eosId];
}

function idsOf(value: unknown, vocabularySize: number): number[] {
  if (!isTokenIds(value)) throw wrong('tokens must be an array of token ids');
  const ids = Array.from(value as ArrayLike<number>);
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
  if (bad === undefined) return ids;
  throw wrong(`token ${String(bad)} is not in the vocabulary, 0 to ${vocabularySize - 1}`);
}

function sampleOf(ids: readonly number[], learned: readonly (readonly [number, number])[]): Sample {
  const labels = new Int32Array(ids.length).fill(-1);
  for (const [start, end] of learned) {
    for (let i = Math.max(1, start); i < end; i++) labels[i - 1] = ids[i]!;
  }
  if (!labels.some((label) => label >= 0)) throw wrong('no token of it is learned');
  return { tokens: Int32Array.from(ids), labels };
}

function wrong(problem: string): TramontaneError {
  return new TramontaneError('INVALID_OPTION', problem);
}
