/**
 * A process of its own: prints which kernels the model named by its argument runs on, and a hash of
 * what they give: logits after 1, 7 and 30 tokens, a perplexity, and drawn tokens.
 */
import { createHash } from 'node:crypto';
import { Model } from '../../../lib';

async function main(): Promise<void> {
  await using model = await Model.load(process.argv[2]!, { threads: 2 });
  const hash = createHash('sha256');
  const ids = Array.from({ length: 30 }, (_, i) => (i * 37 + 5) % model.info.vocabularySize);
  for (const length of [1, 7, 30]) {
    const logits = await model.logits(ids.slice(0, length));
    hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  }
  hash.update(String(await model.perplexity(ids)));
  const draws = { maxTokens: 60, ignoreEos: true, seed: 3 };
  const penalties = { repetitionPenalty: 1.1, presencePenalty: 0.2, frequencyPenalty: 0.1 };
  for (const how of [{ temperature: 1 }, { temperature: 1.3, topP: 0.9, ...penalties }]) {
    const { tokenIds, text } = await model.generate(ids, { ...draws, ...how }).result();
    hash.update(JSON.stringify([tokenIds, text]));
  }
  console.log(`${model.info.implementation} ${hash.digest('hex')}`);
}

void main();
