/** What the JSON files beside a vocabulary add to it. */
import { shown } from '../../files/facts';
import { JsonObject } from '../../files/json-object';
import { isObject, type JsonFile } from '../../files/json';
import { JSON_LIMITS, MAX_PIECES } from '../../files/limits';
import { invalid, quoted, unsupported } from '../../files/problems';
import type { TokenizerSiblings } from '../../files/tokenizer-source';

export interface TokenizerConfig {
  readonly addBos: boolean | undefined;
  /** The pieces that begin and end a sequence. */
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** Pieces by id, some of them also in the vocabulary. */
  readonly added: readonly AddedPiece[];
}

export interface AddedPiece {
  readonly id: number;
  readonly content: string;
  /** Special tokens are control tokens; others are found in plain text. */
  readonly special: boolean;
}

/**
 * What tokenizer_config.json says, and where it does not list the added tokens, as files from before
 * 2023 do not, what added_tokens.json and special_tokens_map.json say.
 */
export function readTokenizerConfig(siblings: TokenizerSiblings): TokenizerConfig {
  const config = objectOf(siblings.config, 'tokenizer_config.json');
  const map = objectOf(siblings.specialTokens, 'special_tokens_map.json');
  const legacy = config.lacks('added_tokens_decoder');
  const named = (key: string): string | undefined => {
    const [first, second] = legacy ? [map, config] : [config, map];
    return contentOf(first.raw(key)) ?? contentOf(second.raw(key));
  };
  const special = specialPieces([config, map]);
  const added = legacy
    ? readAddedTokens(objectOf(siblings.addedTokens, 'added_tokens.json'))
    : readAddedDecoder(config.object('added_tokens_decoder'));
  return {
    addBos: config.boolean('add_bos_token'),
    bosToken: named('bos_token'),
    eosToken: named('eos_token'),
    // A token that has a role is special whatever its own entry says.
    added: added.map((one) => ({ ...one, special: one.special || special.has(one.content) })),
  };
}

function objectOf(file: JsonFile | undefined, name: string): JsonObject {
  const found = file ?? { path: name, bytes: Buffer.from('{}') };
  return JsonObject.parse(found, JSON_LIMITS.tokenizerConfig);
}

/** The pieces that the files give a role: `"eos_token": "</s>"`, `"additional_special_tokens": [...]`. */
function specialPieces(files: readonly JsonObject[]): Set<string> {
  const pieces = new Set<string>();
  for (const file of files) {
    for (const [key, value] of file.entries()) {
      const isList = key === 'additional_special_tokens' || key === 'extra_special_tokens';
      let values: readonly unknown[] = [];
      if (isList && (Array.isArray(value) || isObject(value))) values = Object.values(value);
      else if (key.endsWith('_token')) values = [value];
      for (const one of values) {
        const content = contentOf(one);
        if (content !== undefined) pieces.add(content);
      }
    }
  }
  return pieces;
}

/** `{"32000": {"content": "<|im_end|>", "special": true}}` */
function readAddedDecoder(decoder: JsonObject): AddedPiece[] {
  return decoder.entries().map(([key, value]) => {
    const content = contentOf(value);
    const id = /^\d{1,9}$/.test(key) ? Number(key) : undefined;
    if (id === undefined || id >= MAX_PIECES || content === undefined) {
      const found = `${quoted(key)} with ${shown(value)}`;
      throw invalid(decoder.path, `added_tokens_decoder has ${found}, not an id with a token`);
    }
    const special = isObject(value) && value['special'] === true;
    for (const flag of special ? [] : ['single_word', 'lstrip', 'rstrip']) {
      if (!isObject(value) || value[flag] !== true) continue;
      throw unsupported(decoder.path, `added token ${quoted(content)}: ${flag} is not supported`);
    }
    return { id, content, special };
  });
}

/** `{"<|im_end|>": 32000}` */
function readAddedTokens(file: JsonObject): AddedPiece[] {
  return file.entries().map(([content]) => {
    return { id: file.index(content, MAX_PIECES), content, special: false };
  });
}

/** A token is written as its content, or as an object that has it. */
function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token['content'] : token;
  return typeof content === 'string' ? content : undefined;
}
