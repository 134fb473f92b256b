// The process with the model. In Electron `process.parentPort` takes the place of `process`, whose
// messages are in `event.data`.
import { Model } from 'tramontane';

const path = process.env.MODEL ?? import.meta.resolve('tramontane/models/breeze-Q4_0.gguf');
const loading = Model.load(path); // Messages that come meanwhile are not lost.

process.on('message', async ({ prompt, options }) => {
  try {
    const model = await loading;
    const generation = model.generate(prompt, options);
    for await (const text of generation.textStream()) process.send({ text });
    const { usage } = await generation.result();
    process.send({ usage });
  } catch (error) {
    process.send({ error: error.message });
  }
});
