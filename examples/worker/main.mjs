// A thread has the model; this one asks it over messages. The event loop here stays free anyway, since
// the model computes on threads of its own: a worker keeps also the tokenizer's work away.
import { Worker } from 'node:worker_threads';

const worker = new Worker(new URL('worker.mjs', import.meta.url));
const waiting = new Map();
let count = 0;

worker.on('message', ({ id, text, done, error }) => {
  const { onText, resolve, reject } = waiting.get(id);
  if (text !== undefined) return onText(text);
  waiting.delete(id);
  if (error === undefined) resolve(done);
  else reject(new Error(error));
});

function generate(prompt, options, onText) {
  return new Promise((resolve, reject) => {
    const id = count++;
    waiting.set(id, { onText, resolve, reject });
    worker.postMessage({ id, prompt, options });
  });
}

const [first, second] = await Promise.all([
  generate('Once upon a time', { maxTokens: 40 }, (text) => process.stdout.write(text)),
  generate('The little dog', { maxTokens: 40 }, () => {}),
]);
console.log(`\n${first} and ${second} tokens`);
worker.postMessage('end');
