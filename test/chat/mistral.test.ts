/** Mistral's own formats, token for token as mistral-common 1.13 makes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeChat, type ChatRequest } from '../../lib/chat/encode-chat';
import { encodeFim } from '../../lib/chat/mistral';
import type { ValidationMode } from '../../lib/chat/mistral-rules';
import { loadTokenizer } from '../../lib/tokenizer/load';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { describeWithReference } from '../reference';

interface Case {
  readonly name: string;
  readonly request: ChatRequest & Record<string, unknown>;
  readonly mode?: ValidationMode;
  readonly tokens?: number[];
  readonly error?: string;
}

interface File {
  readonly cases: Case[];
  readonly fim: { prompt: string; suffix: string; tokens?: number[]; error?: string }[];
}

/** What JSON.parse has lost before encodeChat() sees it. */
const NOT_IN_JAVASCRIPT = ['tools integer-like keys'];

/** Fields of a request that say nothing of its messages. */
const OF_OTHER_FIELDS = [
  'temperature above one (error)',
  'truncate without length (error)',
  'reasoning effort (error)',
];

const VERSIONS = [
  ['v1', 'tokenizer.model.v1'],
  ['v2', 'mistral_instruct_tokenizer_240216.model.v2'],
  ['v3', 'mistral_instruct_tokenizer_240323.model.v3'],
] as const;

function errorOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describeWithReference('chat as mistral-common encodes it', (directory) => {
  describe.each(VERSIONS)('mistral-%s', (version, tokenizerFile) => {
    const file = JSON.parse(
      readFileSync(join(directory, 'tokens/chat', `${version}.json`), 'utf8'),
    ) as File;
    let tokenizer: Tokenizer;

    beforeAll(async () => {
      tokenizer = await loadTokenizer(join(directory, 'tokenizers', tokenizerFile));
    });

    const cases = file.cases.filter(
      ({ name }) => !NOT_IN_JAVASCRIPT.includes(name) && !OF_OTHER_FIELDS.includes(name),
    );

    test.each(cases)('$name', ({ request, mode, tokens, error }) => {
      const encode = (): number[] =>
        encodeChat(tokenizer, `mistral-${version}`, request, mode ? { mode } : {});
      if (error === undefined) {
        expect(encode()).toEqual(tokens);
      } else {
        expect(errorOf(encode)).toMatchObject({ code: 'INVALID_MESSAGES', kind: error });
      }
    });

    test.each(file.fim)('fill in the middle: $prompt', ({ prompt, suffix, tokens, error }) => {
      const encode = (): number[] => encodeFim(tokenizer, `mistral-${version}`, { prompt, suffix });
      if (error === undefined) expect(encode()).toEqual(tokens);
      else expect(errorOf(encode)).toMatchObject({ kind: error });
    });
  });
});
