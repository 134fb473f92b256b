// Streams a text as it is generated: curl 'http://127.0.0.1:3000/?prompt=Once'
import { pipeline } from 'node:stream/promises';
import express from 'express';
import { Model } from 'tramontane';

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const model = await Model.load(path);

const app = express();

app.get('/', async (request, response) => {
  const prompt = String(request.query.prompt ?? 'Once upon a time');
  const generation = model.generate(prompt, { maxTokens: 200 }); // Throws when it cannot begin.
  response.type('text/plain');
  await pipeline(generation.textStream(), response); // Ends it when the client has gone.
});

// Express needs all four to take it for what handles errors.
app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  response.status(error.code === 'QUEUE_FULL' ? 503 : 400).json({ error: error.message });
});

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

process.once('SIGTERM', () => {
  server.close(() => model.dispose());
});
