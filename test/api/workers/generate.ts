/** A worker thread: loads a model of its own, says so, and generates until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads';
import { Model } from '../../../lib';

const { path, prompt, maxTokens } = workerData as {
  path: string;
  prompt: number[];
  maxTokens: number;
};

async function main(): Promise<void> {
  const model = await Model.load(path);
  const generation = model.generate(prompt, { temperature: 0, maxTokens, ignoreEos: true });
  let text = '';
  for await (const chunk of generation) {
    if (text === '') parentPort?.postMessage({ started: true });
    text += chunk.text;
  }
  parentPort?.postMessage({ text });
}

void main();
