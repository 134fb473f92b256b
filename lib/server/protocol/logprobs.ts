/** Log-probabilities of tokens, in the forms of completions and of chats. */
import type { LogprobInfo } from '../../model/generation';
import type { TokenLogprob } from '../../model/native';
import type { Tokenizer } from '../../tokenizer/tokenizer';

/** JSON has no infinity: what cannot be drawn is as improbable as this. */
const LEAST = -9999;

const finite = (logprob: number) => Math.max(logprob, LEAST);

export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[];
  readonly text_offset: number[];
}

/** A token's text; of one that is a part of a character its bytes, so that each has a name of its own. */
function nameOf(tokenizer: Tokenizer, id: number): string {
  const bytes = Buffer.from(tokenizer.tokenBytes(id));
  const text = bytes.toString('utf8');
  if (!text.includes('\ufffd')) return text;
  return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
}

/** @param offset of the first token in the text */
export function completionLogprobs(
  tokenizer: Tokenizer,
  infos: readonly LogprobInfo[],
  offset: number,
): CompletionLogprobs {
  let at = offset;
  const offsets = infos.map(({ token }) => {
    const start = at;
    at += Buffer.from(tokenizer.tokenBytes(token)).toString('utf8').length;
    return start;
  });
  return {
    tokens: infos.map(({ token }) => nameOf(tokenizer, token)),
    token_logprobs: infos.map(({ logprob }) => finite(logprob)),
    top_logprobs: infos.map(({ top }) =>
      Object.fromEntries(
        top.map(({ token, logprob }) => [nameOf(tokenizer, token), finite(logprob)]),
      ),
    ),
    text_offset: offsets,
  };
}

function chatToken(tokenizer: Tokenizer, { token, logprob }: TokenLogprob) {
  const bytes = [...tokenizer.tokenBytes(token)];
  return { token: nameOf(tokenizer, token), logprob: finite(logprob), bytes };
}

export function chatLogprobs(tokenizer: Tokenizer, infos: readonly LogprobInfo[]): object {
  return {
    content: infos.map((info) => ({
      ...chatToken(tokenizer, info),
      top_logprobs: info.top.map((other) => chatToken(tokenizer, other)),
    })),
    refusal: null,
  };
}
