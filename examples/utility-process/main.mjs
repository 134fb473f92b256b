// The application. In Electron: `utilityProcess.fork(path)`, with `child.postMessage()` for `send()`.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const child = fork(fileURLToPath(new URL('child.mjs', import.meta.url)));
child.send({ prompt: 'Once upon a time', options: { maxTokens: 40 } });
child.on('message', ({ text = '', usage, error }) => {
  process.stdout.write(text);
  if (error !== undefined) console.error(error);
  if (usage !== undefined) console.log(`\n${usage.completionTokens} tokens`);
  if (usage !== undefined || error !== undefined) child.disconnect();
});
const [status] = await once(child, 'exit'); // A crash there ends nothing here.
process.exitCode = status;
