/** One signal for many generations: it is listened to once, and let go of. */
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Model } from '../../lib';

const path = join(__dirname, '../../models/breeze-Q4_0.gguf');
let model: Model;
beforeAll(async () => {
  model = await Model.load(path);
});
afterAll(() => model.dispose());

/** A signal, and how many listeners it has. */
function watched(): { controller: AbortController; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  const added = jest.spyOn(signal, 'addEventListener');
  const removed = jest.spyOn(signal, 'removeEventListener');
  return { controller, listeners: () => added.mock.calls.length - removed.mock.calls.length };
}

test('a signal has one listener however many generations wait for it', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  try {
    const { controller, listeners } = watched();
    const options = { maxTokens: 4000, ignoreEos: true, signal: controller.signal };
    const generations = Array.from({ length: 40 }, () => model.generate('Once', options));
    expect(listeners()).toBe(1);
    generations[0]!.abort();
    await generations[0]!.result();
    expect(listeners()).toBe(1);
    controller.abort();
    for (const { finishReason } of await Promise.all(generations.map((one) => one.result()))) {
      expect(finishReason).toBe('aborted');
    }
    await wait(0); // Warnings come a tick later.
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', onWarning);
  }
});

test('it has none when all have ended, and one again for the next', async () => {
  const { controller, listeners } = watched();
  const options = { maxTokens: 2, signal: controller.signal };
  const all = Array.from({ length: 5 }, () => model.generate('Once', options).result());
  expect(listeners()).toBe(1);
  await Promise.all(all);
  expect(listeners()).toBe(0);
  const next = model.generate('Once', { ...options, maxTokens: 4000, ignoreEos: true });
  expect(listeners()).toBe(1);
  controller.abort();
  expect((await next.result()).finishReason).toBe('aborted');
});
