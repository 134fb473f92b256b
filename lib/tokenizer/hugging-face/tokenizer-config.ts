/** What tokenizer_config.json adds to a tokenizer. */
import { type JsonFile } from '../../files/json';
import { JSON_LIMITS } from '../../files/limits';
import { invalid, quoted } from '../../files/problems';
import { isRecord, JsonObject, shown } from './json';

export interface TokenizerConfig {
  readonly addBos: boolean | undefined;
  /** The pieces that begin and end a sequence. */
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** `added_tokens_decoder`: pieces by id, some of them also in the vocabulary. */
  readonly added: readonly AddedPiece[];
}

export interface AddedPiece {
  readonly id: number;
  readonly content: string;
  /** Special tokens are control tokens; others are found in plain text. */
  readonly special: boolean;
}

/** What the file says; an empty one where there is none. */
export function readTokenizerConfig(file: JsonFile | undefined): TokenizerConfig {
  const found = file ?? { path: 'tokenizer_config.json', bytes: Buffer.from('{}') };
  const config = JsonObject.parse(found, JSON_LIMITS.tokenizerConfig);
  return {
    addBos: config.lacks('add_bos_token') ? undefined : config.boolean('add_bos_token', true),
    bosToken: contentOf(config.raw('bos_token')),
    eosToken: contentOf(config.raw('eos_token')),
    added: config.optional('added_tokens_decoder', readAdded) ?? [],
  };
}

function readAdded(decoder: JsonObject): AddedPiece[] {
  return decoder.entries().map(([key, value]) => {
    const content = contentOf(value);
    if (!/^\d{1,9}$/.test(key) || content === undefined) {
      const found = `${quoted(key)} with ${shown(value)}`;
      throw invalid(decoder.path, `added_tokens_decoder has ${found}, not an id with a token`);
    }
    return { id: Number(key), content, special: isRecord(value) && value['special'] === true };
  });
}

/** A token is written as its content, or as an object that has it. */
function contentOf(token: unknown): string | undefined {
  const content = isRecord(token) ? token['content'] : token;
  return typeof content === 'string' ? content : undefined;
}
