// Several processes answer HTTP; the first has the model, and their requests share its steps. Several
// models would only divide the processors among them.
import cluster from 'node:cluster';
import { createServer } from 'node:http';

if (cluster.isPrimary) await serveModel();
else serveHttp();

async function serveModel() {
  const { Model } = await import('tramontane');
  const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
  const model = await Model.load(path);

  cluster.on('message', async (worker, { id, prompt, gone }) => {
    const key = `${worker.id}:${id}`;
    if (gone) return running.get(key)?.abort();
    const send = (message) => worker.isConnected() && worker.send({ id, ...message });
    try {
      const generation = model.generate(prompt, { maxTokens: 100 });
      running.set(key, generation);
      for await (const text of generation.textStream()) send({ text });
      send({ done: true });
    } catch (error) {
      send({ error: error.message, code: error.code });
    } finally {
      running.delete(key);
    }
  });

  const running = new Map();
  for (let i = 0; i < 2; i++) cluster.fork();
  process.once('SIGTERM', () => {
    cluster.disconnect(() => model.dispose());
  });
}

function serveHttp() {
  const waiting = new Map();
  let count = 0;

  process.on('message', ({ id, text, done, error, code }) => {
    const response = waiting.get(id);
    if (response === undefined) return;
    if (text !== undefined) return response.write(text);
    if (error !== undefined && !response.headersSent) {
      response.statusCode = code === 'QUEUE_FULL' ? 503 : 400;
    }
    response.end(error ?? '');
    if (done || error !== undefined) waiting.delete(id);
  });

  const server = createServer((request, response) => {
    const prompt = new URL(request.url, 'http://localhost').searchParams.get('prompt') ?? 'Once';
    const id = count++;
    waiting.set(id, response);
    response.setHeader('x-worker', cluster.worker.id);
    response.on('close', () => {
      if (waiting.delete(id)) process.send({ id, gone: true });
    });
    process.send({ id, prompt });
  });
  server.listen(process.env.PORT ?? 3000, '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
  });
}
