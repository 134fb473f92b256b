/** Output that is held to a form, and conversations with tools. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { compileGrammar, Model, type ChatTool, type Message } from '../../lib';
import { fixture } from '../reference';

const demo = join(__dirname, '../../models/breeze-Q4_0.gguf');
const hot = { temperature: 20, maxTokens: 400 } as const;

const PERSON = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    tags: { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 3 },
  },
  required: ['name', 'age', 'tags'],
} as const;

describe('generate() held to a form', () => {
  let model: Model;

  beforeAll(async () => {
    model = await Model.load(demo);
  });
  afterAll(() => model.dispose());

  test('json: every text that ends is of the schema, whatever is drawn', async () => {
    const grammar = compileGrammar({ json: PERSON });
    const runs = Array.from({ length: 32 }, (_, seed) =>
      model.generate('Once', { json: PERSON, ...hot, seed }).result(),
    );
    for (const result of await Promise.all(runs)) {
      expect(result.finishReason).toBe('stop');
      expect(result.text).toMatch(/^\{"name"/);
      expect(grammar.accepts(result.text)).toBe(true);
      const value = await result.json();
      expect(value.age).toBeLessThanOrEqual(150);
      expect(Object.keys(value)).toEqual(['name', 'age', 'tags']);
    }
  });

  test('the same text alone and in company', async () => {
    const alone = await model.generate('Once', { json: PERSON, ...hot, seed: 5 }).text();
    const company = Array.from({ length: 8 }, (_, seed) =>
      model.generate('Once', { json: PERSON, ...hot, seed }).text(),
    );
    expect((await Promise.all(company))[5]).toBe(alone);
  });

  test('regex, choice and grammar', async () => {
    const of = (options: object): Promise<string> =>
      model.generate('Once upon a time', { ...hot, ...options }).text();
    expect(await of({ regex: '[a-c]{3}-\\d{2}' })).toMatch(/^[a-c]{3}-\d{2}$/);
    expect(['yes', 'no', 'may be']).toContain(await of({ choice: ['yes', 'no', 'may be'] }));
    expect(await of({ grammar: 'root ::= "a"+ "b"' })).toMatch(/^a+b$/);
    const grammar = compileGrammar({ gbnf: 'root ::= "x" | "yy"' });
    expect(['x', 'yy']).toContain(await of({ grammar }));
  });

  test('the text has no space of the tokenizer, in chunks neither', async () => {
    let text = '';
    for await (const chunk of model.generate('Once', { choice: ['home', 'house'], ...hot })) {
      text += chunk.text;
    }
    expect(['home', 'house']).toContain(text);
  });

  test('a text that is cut short is no JSON, and says so with what there is', async () => {
    const result = await model.generate('Once', { json: PERSON, ...hot, maxTokens: 3 }).result();
    expect(result.finishReason).toBe('length');
    await expect(result.json()).rejects.toMatchObject({
      code: 'INCOMPLETE_OUTPUT',
      text: result.text,
    });
    const stopped = await model.generate('Once', { json: PERSON, ...hot, stop: 'name' }).result();
    await expect(stopped.json()).rejects.toMatchObject({ code: 'INCOMPLETE_OUTPUT' });
  });

  test("a library's schema gives the grammar, and takes the result", async () => {
    const standard = {
      '~standard': {
        version: 1,
        vendor: 'test',
        jsonSchema: { input: () => ({ type: 'integer', minimum: 1, maximum: 3 }) },
        validate: (value: unknown) =>
          value === 2 ? { issues: [{ message: 'not two' }] } : { value: `got ${String(value)}` },
      },
    } as const;
    const results = new Set<string>();
    for (let seed = 0; seed < 12; seed++) {
      const result = await model.generate('Once', { json: standard, ...hot, seed }).result();
      results.add(
        await result.json().then(String, (error: unknown) => (error as { code: string }).code),
      );
    }
    expect([...results].sort()).toEqual(['INVALID_OUTPUT', 'got 1', 'got 3']);
  });

  test.each([
    [{ json: { type: 'objekt' } }, /objekt|type/],
    [{ json: {}, regex: 'a' }, /exclude each other/],
    [{ regex: '(?=a)' }, /./],
    [{ regex: 'a', ignoreEos: true }, /ignoreEos does not go with/],
    [{ choice: ['a'], allowedTokens: [1] }, /allowedTokens does not go with/],
    [{ choice: [] }, /no texts/],
    [{ grammar: 5 }, /GBNF/],
  ])('refuses %j', (options, message) => {
    expect(() => model.generate('x', options as never)).toThrow(message);
  });

  test('a base model has no chat format and says what to do', async () => {
    await using base = await Model.load(fixture('gguf/swa-Q4_0.gguf'));
    expect(base.info.chat).toBeUndefined();
    const messages: Message[] = [{ role: 'user', content: 'Hi' }];
    expect(() => base.chat(messages)).toThrow(/no chat format.*chatTemplate/);
  });

  test('the format comes from the vocabulary where the template is a wrong one', () => {
    expect(model.info.chat?.name).toBe('mistral-v3');
  });
});

describe('chat()', () => {
  let model: Model;
  const messages: Message[] = [{ role: 'user', content: 'Hi' }];
  const tools: ChatTool[] = [
    {
      function: {
        name: 'weather',
        parameters: {
          type: 'object',
          properties: {
            city: { type: 'string', maxLength: 5 },
            days: { type: 'integer', minimum: 1, maximum: 9 },
          },
          required: ['city'],
        },
      },
    },
    {
      function: {
        name: 'now',
        description: 'the time',
        parameters: { type: 'object', properties: {} },
      },
    },
  ];

  beforeAll(async () => {
    model = await Model.load(fixture('gguf/full-Q4_0.gguf'), { chatTemplate: 'mistral-v3' });
  });
  afterAll(() => model.dispose());

  test('answers with a message that can be appended', async () => {
    const { message, usage, text } = await model.chat(messages, { maxTokens: 4, seed: 1 }).result();
    expect(message).toEqual({ role: 'assistant', content: text });
    expect(usage.promptTokens).toBe(model.chatTokens(messages).length);
    expect(model.info.chat).toEqual({ name: 'mistral-v3', source: 'option', tools: true });
  });

  test('calls are of the tools, their arguments of the schema, their deltas add up', async () => {
    let calls = 0;
    for (let seed = 0; seed < 24; seed++) {
      const toolChoice = (['required', 'auto', { name: 'weather' }] as const)[seed % 3]!;
      const generation = model.chat(messages, { tools, toolChoice, ...hot, seed });
      const joined = new Map<number, string>();
      const names = new Map<number, string>();
      let content = '';
      for await (const chunk of generation) {
        content += chunk.text;
        for (const { index, name, id, arguments: more } of chunk.toolCalls ?? []) {
          if (name !== undefined) names.set(index, name);
          if (id !== undefined) expect(id).toMatch(/^[a-zA-Z0-9]{9}$/);
          joined.set(index, (joined.get(index) ?? '') + more);
        }
      }
      const { message, finishReason } = await generation.result();
      const made = message.tool_calls ?? [];
      if (finishReason === 'stop' && toolChoice !== 'auto') expect(made.length).toBeGreaterThan(0);
      if (made.length > 0) expect(content).toBe('');
      for (const [index, call] of made.entries()) {
        calls++;
        expect(joined.get(index)).toBe(call.function.arguments);
        expect(names.get(index)).toBe(call.function.name);
        if (typeof toolChoice === 'object') expect(call.function.name).toBe('weather');
        const values = JSON.parse(call.function.arguments) as { city?: string };
        const { parameters } = tools.find(
          (tool) => tool.function.name === call.function.name,
        )!.function;
        expect(compileGrammar({ json: parameters as never }).accepts(call.function.arguments)).toBe(
          true,
        );
        if (call.function.name === 'weather') expect(typeof values.city).toBe('string');
      }
      if (finishReason !== 'stop' || made.length === 0) continue;
      const results = made.map(({ id }): Message => ({
        role: 'tool',
        content: '1',
        tool_call_id: id,
      }));
      expect(() => model.chatTokens([...messages, message, ...results])).not.toThrow();
    }
    expect(calls).toBeGreaterThan(8);
  });

  test('one call where more are not wanted', async () => {
    for (let seed = 0; seed < 6; seed++) {
      const options = { tools, toolChoice: 'required', parallelToolCalls: false } as const;
      const { message } = await model.chat(messages, { ...options, ...hot, seed }).result();
      expect(message.tool_calls?.length ?? 0).toBeLessThan(2);
    }
  });

  test('none: an answer, and json holds it', async () => {
    const options = {
      tools,
      toolChoice: 'none',
      json: PERSON,
      ...hot,
      seed: randomInt(1000),
    } as const;
    const result = await model.chat(messages, options).result();
    expect(result.message.tool_calls).toBeUndefined();
    expect(await result.json()).toHaveProperty('age');
  });

  test('a conversation that does not fit is refused with both numbers', () => {
    const long: Message[] = [{ role: 'user', content: 'word '.repeat(5000) }];
    expect(() => model.chat(long)).toThrow(/the prompt has \d+ tokens, but the context holds \d+/);
  });

  test.each([
    [{ toolChoice: 'required' }, /no tools/],
    [{ toolChoice: 'maybe' }, /toolChoice must be/],
    [{ tools: 5 }, /tools must be/],
    [{ tools: [{}] }, /name must be a string/],
    [{ tools, toolChoice: { name: 'x' } }, /no tool x/],
    [{ safePrompt: 3 }, /safePrompt must be/],
    [{ nonsense: 1 }, /nonsense/],
    [{ stop: 5 }, /stop/],
  ])('refuses %j', (options, message) => {
    expect(() => model.chat(messages, options as never)).toThrow(message);
  });
});
