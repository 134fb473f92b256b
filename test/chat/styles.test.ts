/** The fine-tunes' formats, as their authors' cards write them, and how a format is chosen. */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { chooseTemplate } from '../../lib/chat/choose-template';
import { encodeChat } from '../../lib/chat/encode-chat';
import { fitMessages } from '../../lib/chat/fit-messages';
import { hasFim } from '../../lib/chat/mistral';
import { pythonDump, pythonForm } from '../../lib/chat/python-json';
import type { Message } from '../../lib/chat/messages';
import { SAFE_PROMPT, withSafePrompt } from '../../lib/chat/safe-prompt';
import { loadTokenizer } from '../../lib/tokenizer/load';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { describeWithReference } from '../reference';

const CONVERSATION: Message[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello' },
  { role: 'user', content: 'Bye' },
];

describeWithReference('formats of fine-tunes', (directory) => {
  let v1: Tokenizer;
  let v3: Tokenizer;
  let chatml: Tokenizer;

  beforeAll(async () => {
    v1 = await loadTokenizer(join(directory, 'tokenizers/tokenizer.model.v1'));
    v3 = await loadTokenizer(
      join(directory, 'tokenizers/mistral_instruct_tokenizer_240323.model.v3'),
    );
    chatml = await loadTokenizer(join(directory, 'smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'));
  });

  /** The conversation as text, control tokens by their pieces. */
  const written = (tokenizer: Tokenizer, ids: readonly number[]): string => {
    let text = '';
    let run: number[] = [];
    for (const id of ids) {
      if (!tokenizer.isControl(id)) {
        run.push(id);
        continue;
      }
      text += tokenizer.decode(run) + tokenizer.pieceOf(id)!;
      run = [];
    }
    return text + tokenizer.decode(run);
  };

  test('chatml', () => {
    const ids = encodeChat(chatml, 'chatml', { messages: CONVERSATION });
    expect(written(chatml, ids)).toBe(
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n' +
        '<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n' +
        '<|im_start|>assistant\n',
    );
  });

  test('chatml: a text and calls stand in one answer', () => {
    const call = { id: 'a1b2c3d4e', function: { name: 'f', arguments: '{"a": 1}' } };
    const messages: Message[] = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'I look.', tool_calls: [call, call] },
      { role: 'tool', content: '1', tool_call_id: 'a1b2c3d4e' },
    ];
    const text = written(chatml, encodeChat(chatml, 'chatml', { messages }));
    const calls = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>';
    expect(text).toContain(`<|im_start|>assistant\nI look.\n${calls}\n${calls}<|im_end|>`);
    const alone = { ...messages[1]!, content: null } as Message;
    const without = encodeChat(chatml, 'chatml', { messages: [messages[0]!, alone, messages[2]!] });
    expect(written(chatml, without)).toContain(
      `<|im_start|>assistant\n${calls}\n${calls}<|im_end|>`,
    );
  });

  test('which vocabularies can fill in the middle', () => {
    expect([v1, v3, chatml].map(hasFim)).toEqual([false, true, false]);
  });

  test('zephyr', () => {
    const ids = encodeChat(v1, 'zephyr', { messages: CONVERSATION });
    expect(written(v1, ids)).toBe(
      '<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n' +
        '<|user|>\nBye</s>\n<|assistant|>\n',
    );
  });

  test('openchat and vicuna leave the space before an answer to the answer', () => {
    const vicuna = encodeChat(v1, 'vicuna', { messages: CONVERSATION });
    expect(written(v1, vicuna)).toBe(
      '<s>Be brief. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:',
    );
    const openchat = encodeChat(v1, 'openchat', { messages: CONVERSATION });
    expect(written(v1, openchat)).toContain('<s>Be brief.<|end_of_turn|>GPT4 Correct User: Hi');
    expect(written(v1, openchat)).toMatch(/GPT4 Correct Assistant:$/);
  });

  test('an answer that was begun stays open', () => {
    const begun: Message[] = [...CONVERSATION, { role: 'assistant', content: 'See', prefix: true }];
    expect(written(chatml, encodeChat(chatml, 'chatml', { messages: begun }))).toMatch(
      /<\|im_start\|>assistant\nSee$/,
    );
  });

  test('a template of a file makes the ids of the built-in encoder', () => {
    const { templates } = JSON.parse(
      readFileSync(join(directory, 'tokens/chat/templates/templates.json'), 'utf8'),
    ) as { templates: { id: string; template: string; tokenizer: string }[] };
    const jinja = templates.find(({ id }) => id === 'mistral-common-v3')!.template;
    expect(encodeChat(v3, { jinja }, { messages: CONVERSATION })).toEqual(
      encodeChat(v3, 'mistral-v3', { messages: CONVERSATION }),
    );
    for (const { template, tokenizer } of templates) {
      const chosen = chooseTemplate(tokenizer === 'v1' ? v1 : v3, template)?.template;
      // V2's vocabulary differs from V3's in what no template has: V3 stands for it here.
      expect(chosen).toBe(tokenizer === 'v1' ? 'mistral-v1' : 'mistral-v3');
    }
  });

  test('a base model has no format; an unknown template is run as it is', () => {
    expect(chooseTemplate(v3, undefined)).toBeUndefined();
    const jinja = '{% for m in messages %}{{ m.content }}{% endfor %}';
    expect(chooseTemplate(v1, jinja)?.template).toEqual({ jinja });
    const im = "{{ '<|im_start|>' + role + '<|im_end|>' }}";
    expect(chooseTemplate(chatml, im)?.template).toBe('chatml');
    // The vocabulary has no such control token: it is not what the built-in encoder is for.
    expect(chooseTemplate(v1, im)?.template).toEqual({ jinja: im });
  });

  test('a safe prompt stands before the user it guards against', () => {
    const messages = withSafePrompt([{ role: 'user', content: 'Hi' }], true);
    expect(written(v3, encodeChat(v3, 'mistral-v3', { messages }))).toBe(
      `<s>[INST]${SAFE_PROMPT}\n\nHi[/INST]`,
    );
    expect(withSafePrompt(CONVERSATION, false)).toBe(CONVERSATION);
  });
});

describe('fitMessages', () => {
  const count = (messages: readonly Message[]): number => messages.length;

  test('drops the oldest whole turns and keeps system messages', () => {
    const messages: Message[] = [
      { role: 'system', content: 's' },
      { role: 'user', content: '1' },
      { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: '{}' } }] },
      { role: 'tool', content: 'r', tool_call_id: 'abcdefgh1' },
      { role: 'assistant', content: 'a' },
      { role: 'user', content: '2' },
    ];
    expect(fitMessages(messages, 6, count)).toEqual(messages);
    expect(fitMessages(messages, 5, count)).toEqual([messages[0], messages[5]]);
  });

  test('says both numbers where the last turn is too long', () => {
    expect(() => fitMessages(CONVERSATION, 1, count)).toThrow(/2 tokens, but the budget is 1/);
  });
});

describe("Python's JSON", () => {
  test.each([
    ['{"a":1.50,"b":1E5}', '{"a": 1.5, "b": 100000.0}'],
    [
      '[1e-5,1e16,123456789012345678901234567890,-0.0,-0]',
      '[1e-05, 1e+16, 123456789012345678901234567890, -0.0, 0]',
    ],
    ['{"10":1,"9":2,"10":3}', '{"10": 3, "9": 2}'],
    ['[NaN,-Infinity]', '[NaN, -Infinity]'],
    ['"\\u00e9\\u2028"', '"é\u2028"'],
    ['0.0001', '0.0001'],
  ])('%s', (json, expected) => {
    expect(pythonForm(json)).toBe(expected);
  });

  test.each(['', '{', '[1,]', '{"a":1,}', '01', '"\n"', '\u00a01', '['.repeat(100000), 'nul'])(
    'is not JSON: %j',
    (json) => {
      expect(pythonForm(json)).toBeUndefined();
    },
  );

  test('a cycle is no JSON', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(pythonDump(cycle)).toBeUndefined();
  });
});
