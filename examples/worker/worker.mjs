import { parentPort } from 'node:worker_threads';
import { Model } from 'tramontane';

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const model = await Model.load(path);

parentPort.on('message', async (message) => {
  if (message === 'end') {
    await model.dispose();
    parentPort.close();
    return;
  }
  const { id, prompt, options } = message;
  try {
    const generation = model.generate(prompt, options);
    for await (const { text } of generation) if (text !== '') parentPort.postMessage({ id, text });
    const { usage } = await generation.result();
    parentPort.postMessage({ id, done: usage.completionTokens });
  } catch (error) {
    parentPort.postMessage({ id, error: error.message });
  }
});
