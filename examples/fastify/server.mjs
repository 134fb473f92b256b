// GET / streams a text; POST /pets makes JSON by a schema.
import { Readable } from 'node:stream';
import Fastify from 'fastify';
import { Model } from 'tramontane';

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const model = await Model.load(path);

const app = Fastify();

app.get('/', (request, reply) => {
  const generation = model.generate(request.query.prompt ?? 'Once upon a time', { maxTokens: 200 });
  reply.type('text/plain; charset=utf-8');
  return reply.send(Readable.from(generation.textStream())); // Destroyed when the client has gone.
});

const PET = {
  type: 'object',
  properties: { kind: { enum: ['cat', 'dog'] }, tame: { type: 'boolean' } },
  required: ['kind', 'tame'],
};

app.post('/pets', async (request) => {
  const prompt = `${request.body.text}\nThe pet as JSON: `;
  const result = await model.generate(prompt, { json: PET, maxTokens: 100 }).result();
  return await result.json();
});

app.setErrorHandler((error, request, reply) => {
  const status = error.code === 'QUEUE_FULL' ? 503 : (error.statusCode ?? 400);
  reply.code(status).send({ error: error.message });
});

app.addHook('onClose', () => model.dispose());
process.once('SIGTERM', () => app.close());

const address = await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
console.log(`listening on ${address}`);
