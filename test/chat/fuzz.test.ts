import { join } from 'node:path';
import { encodeChat, type ChatTemplate } from '../../lib/chat/encode-chat';
import { MessagesError } from '../../lib/errors';
import { loadTokenizer } from '../../lib/tokenizer/load';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { Random } from '../grammar/random';
import { describeWithReference } from '../reference';
import { fuzzMessages, fuzzTemplate } from './fuzz';

describeWithReference(
  'random conversations are encoded or refused by a TramontaneError',
  (directory) => {
    let tokenizers: Tokenizer[];

    beforeAll(async () => {
      const names = ['tokenizer.model.v1', 'mistral_instruct_tokenizer_240323.model.v3'];
      tokenizers = await Promise.all(
        names.map((name) => loadTokenizer(join(directory, 'tokenizers', name))),
      );
    });

    test.each([
      ['in every format', fuzzMessages],
      ['by random templates', fuzzTemplate],
    ])('%s', (_, fuzz) => {
      const random = new Random(1);
      const outcomes = { taken: 0, refused: 0 };
      for (let i = 0; i < 1000; i++) outcomes[fuzz(random, tokenizers)]++;
      expect(outcomes.taken).toBeGreaterThan(100);
      expect(outcomes.refused).toBeGreaterThan(100);
    });
  },
);

describeWithReference('what random conversations found', (directory) => {
  const encode = async (template: ChatTemplate, request: object): Promise<number[]> => {
    const name = 'mistral_instruct_tokenizer_240323.model.v3';
    const tokenizer = await loadTokenizer(join(directory, 'tokenizers', name));
    return encodeChat(tokenizer, template, request as Parameters<typeof encodeChat>[2]);
  };
  const messages = [{ role: 'user', content: 'Hello' }];

  test('a function where the call of a tool should be', async () => {
    const calling = { role: 'assistant', tool_calls: [{ function: () => 1 }] };
    await expect(encode('mistral-v3', { messages: [...messages, calling] })).rejects.toThrow(
      MessagesError,
    );
  });

  test('arguments that are no JSON, for a template', async () => {
    const calling = {
      role: 'assistant',
      tool_calls: [{ function: { name: 'f', arguments: () => 1 } }],
    };
    await expect(
      encode({ jinja: '{{ messages }}' }, { messages: [...messages, calling] }),
    ).rejects.toThrow('the arguments of a call must be JSON');
  });

  test('a BigInt in arguments, which the library of templates has no value for', async () => {
    const calling = { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: 1n } }] };
    await expect(
      encode({ jinja: '{{ messages }}' }, { messages: [...messages, calling] }),
    ).rejects.toThrow(MessagesError);
  });

  test('infinite numbers in tools, for a template', async () => {
    const tools = [{ function: { name: 'f', parameters: { type: 'object', maximum: Infinity } } }];
    await expect(encode({ jinja: '{{ tools }}' }, { messages, tools })).rejects.toThrow(
      'tools[0]: function.parameters must be JSON',
    );
  });
});
