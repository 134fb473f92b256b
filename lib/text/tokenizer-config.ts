/** What tokenizer_config.json adds to a tokenizer. */
import { invalid } from '../files/problems';
import { isRecord } from './json';

export interface TokenizerConfig {
  readonly addBos?: boolean;
  /** The pieces that begin and end a sequence. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** `added_tokens_decoder`: pieces by id, some of them also in the vocabulary. */
  readonly added: readonly AddedPiece[];
}

export interface AddedPiece {
  readonly id: number;
  readonly content: string;
  /** Special tokens are control tokens; others are found in plain text. */
  readonly special: boolean;
}

/** @param path the tokenizer's, for messages */
export function readTokenizerConfig(path: string, text: string | undefined): TokenizerConfig {
  if (text === undefined) return { added: [] };
  const problem = (what: string): Error =>
    invalid(path, `the tokenizer_config.json beside it ${what}`);
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    throw problem(`is not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (!isRecord(config)) throw problem('is not an object');
  const {
    add_bos_token: addBos,
    bos_token: bos,
    eos_token: eos,
    added_tokens_decoder: added,
  } = config;
  const bosToken = contentOf(bos);
  const eosToken = contentOf(eos);
  return {
    ...(typeof addBos === 'boolean' ? { addBos } : {}),
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(eosToken === undefined ? {} : { eosToken }),
    added: Object.entries(isRecord(added) ? added : {}).map(([key, value]) => {
      const content = contentOf(value);
      if (!/^\d{1,9}$/.test(key) || content === undefined) {
        throw problem('has an entry of added_tokens_decoder that is not an id with its content');
      }
      return { id: Number(key), content, special: isRecord(value) && value['special'] === true };
    }),
  };
}

/** A token is written as its content, or as an object that has it. */
function contentOf(token: unknown): string | undefined {
  const content = isRecord(token) ? token['content'] : token;
  return typeof content === 'string' ? content : undefined;
}
