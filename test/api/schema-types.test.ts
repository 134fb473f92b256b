/** The type of a result follows from its schema: these lines fail to compile where it does not. */
import { Type } from '@sinclair/typebox';
import type { type } from 'arktype' with { 'resolution-mode': 'import' };
import { join } from 'node:path';
import { z } from 'zod';
import { compileGrammar, Model, type Infer } from '../../lib';

type Same<A, B> = [A, B] extends [B, A] ? true : false;

function same<A, B>(_: Same<A, B>): void {
  expect(_).toBe(true);
}

const JSON_SCHEMA = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer' },
    kind: { enum: ['a', 'b'] },
    tags: { type: 'array', items: { type: ['string', 'null'] } },
    either: { anyOf: [{ type: 'boolean' }, { const: 5 }] },
  },
  required: ['name', 'age'],
} as const;

const Zod = z.object({ name: z.string(), age: z.number().int().min(0).max(120) });
const TypeBox = Type.Object({ name: Type.String(), age: Type.Optional(Type.Integer()) });

test('types of schemas', () => {
  same<
    Infer<typeof JSON_SCHEMA>,
    {
      name: string;
      age: number;
      kind?: 'a' | 'b';
      tags?: (string | null)[];
      either?: boolean | 5;
    }
  >(true);
  same<Infer<typeof Zod>, { name: string; age: number }>(true);
  same<Infer<typeof TypeBox>, { name: string; age?: number }>(true);
  same<Infer<type<{ name: string }>>, { name: string }>(true);
  same<Infer<{ type: 'null' }>, null>(true);
  same<Infer<never>, unknown>(true);
  same<Infer<Record<string, unknown>>, unknown>(true);
});

test('results of generate() and chat() have them', async () => {
  await using model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
  const options = { temperature: 5, maxTokens: 300, seed: 3 } as const;
  const json = await (await model.generate('x', { json: JSON_SCHEMA, ...options }).result()).json();
  expect(json.name).toBeDefined();
  same<(typeof json)['kind'], 'a' | 'b' | undefined>(true);
  const zod = await (await model.generate('x', { json: Zod, ...options }).result()).json();
  same<typeof zod, { name: string; age: number }>(true);
  expect(zod.age).toBeLessThanOrEqual(120);
  const messages = [{ role: 'user', content: 'Hi' }] as const;
  const box = await (await model.chat(messages, { json: TypeBox, ...options }).result()).json();
  same<typeof box, { name: string; age?: number }>(true);
  expect(typeof box.name).toBe('string');
  const free = await model.generate('x', { maxTokens: 2 }).result();
  expect(free.finishReason).toBe('length');
  same<ReturnType<typeof free.json>, Promise<unknown>>(true);
  expect(compileGrammar({ json: Zod }).accepts('{"name":"a","age":3}')).toBe(true);
});
