/** POST /tokenize, /detokenize */
import type { Message } from '../../chat/messages';
import type { ChatTool } from '../../model/chat';
import { addRoute, type Context } from '../context';
import { badField } from '../protocol/errors';
import { flag, honoured, inert, integer, text } from '../protocol/fields';
import { historyOf } from '../../chat/history';
import { TOOLS } from './chat';

interface TokenizeBody {
  readonly model?: string;
  readonly prompt?: string;
  readonly messages?: readonly Message[];
  readonly tools?: readonly ChatTool[];
  readonly add_special_tokens?: boolean;
}

export function tokenRoutes(context: Context): void {
  const { models } = context;
  addRoute<TokenizeBody>(context, {
    path: '/tokenize',
    summary: 'The tokens of a text, or of a conversation.',
    fields: {
      model: honoured('A name of a model.', text),
      prompt: honoured('A text.', text),
      messages: honoured('Or a conversation.', { type: 'array', items: { type: 'object' } }),
      tools: honoured('Of the conversation.', TOOLS),
      add_special_tokens: honoured('BOS first; true where it is left out.', flag),
      add_generation_prompt: inert('Conversations are to be answered.', flag),
      return_token_strs: inert('Ask /detokenize.', flag),
    },
    required: [],
    // eslint-disable-next-line @typescript-eslint/require-await
    async answer({ model: name, prompt, messages, tools = [], add_special_tokens: bos = true }) {
      const { model } = models.find(name);
      if ((prompt === undefined) === (messages === undefined)) {
        throw badField('prompt', 'either prompt or messages is wanted');
      }
      const { tokenizer } = model;
      const tokens =
        messages === undefined
          ? tokenizer.encode(prompt!, { bos: bos && tokenizer.addBos })
          : model.chatTokens(historyOf(messages, model), { tools });
      return { tokens, count: tokens.length, max_model_len: model.info.contextSize };
    },
  });
  addRoute<{ readonly model?: string; readonly tokens: readonly number[] }>(context, {
    path: '/detokenize',
    summary: 'The text of tokens.',
    fields: {
      model: honoured('A name of a model.', text),
      tokens: honoured('Token ids.', { type: 'array', items: integer(0, 2 ** 31 - 1) }),
    },
    required: ['tokens'],
    // eslint-disable-next-line @typescript-eslint/require-await
    async answer({ model: name, tokens }) {
      const { tokenizer } = models.find(name).model;
      const unknown = tokens.find((id) => id >= tokenizer.vocabularySize);
      if (unknown !== undefined) throw badField('tokens', `there is no token ${unknown}`);
      return { prompt: tokenizer.decode(tokens) };
    },
  });
}
