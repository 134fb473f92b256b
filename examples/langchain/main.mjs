// A chat model of LangChain in the same process. Over HTTP, ChatOpenAI works with `tramontane serve`.
import { SimpleChatModel } from '@langchain/core/language_models/chat_models';
import { AIMessageChunk } from '@langchain/core/messages';
import { ChatGenerationChunk } from '@langchain/core/outputs';
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { StringOutputParser } from '@langchain/core/output_parsers';
import { Model } from 'tramontane';

const ROLES = { system: 'system', human: 'user', ai: 'assistant' };

class ChatTramontane extends SimpleChatModel {
  constructor({ model, ...options }) {
    super(options);
    this.model = model;
    this.options = options;
  }

  _llmType() {
    return 'tramontane';
  }

  chat(messages, { stop, signal }) {
    const conversation = messages.map((message) => ({
      role: ROLES[message.getType()],
      content: message.text,
    }));
    const { maxTokens, temperature } = this.options;
    return this.model.chat(conversation, { maxTokens, temperature, stop, signal });
  }

  async _call(messages, options) {
    const answer = this.chat(messages, options);
    const text = await answer.text();
    options.signal?.throwIfAborted();
    return text;
  }

  async *_streamResponseChunks(messages, options, manager) {
    for await (const text of this.chat(messages, options).textStream()) {
      yield new ChatGenerationChunk({ text, message: new AIMessageChunk(text) });
      await manager?.handleLLMNewToken(text);
    }
  }
}

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const model = await Model.load(path);

const prompt = ChatPromptTemplate.fromMessages([
  ['system', 'You tell stories about {animal}s.'],
  ['human', '{wish}'],
]);
const chat = new ChatTramontane({ model, maxTokens: 40, temperature: 0.5 });
const chain = prompt.pipe(chat).pipe(new StringOutputParser());
for await (const text of await chain.stream({ animal: 'dog', wish: 'A short one.' })) {
  process.stdout.write(text);
}
console.log();
await model.dispose();
