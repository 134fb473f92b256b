/**
 * A process of its own: prints which kernels the model named by its first argument runs on, a hash
 * of what they give, the bytes of logits after 1, 7 and 30 tokens and of the ids of drawn tokens (as
 * many as the second argument says, 60 without), and a perplexity.
 */
import { createHash } from 'node:crypto';
import { Model } from '../../../lib';

async function main(): Promise<void> {
  const [path = '', maxTokens = '60'] = process.argv.slice(2);
  await using model = await Model.load(path, { threads: 2 });
  const hash = createHash('sha256');
  const update = ({ buffer, byteOffset, byteLength }: Float32Array | Int32Array): void => {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  };
  const ids = Array.from({ length: 30 }, (_, i) => (i * 37 + 5) % model.info.vocabularySize);
  for (const length of [1, 7, 30]) update(await model.logits(ids.slice(0, length)));
  const draws = { maxTokens: Number(maxTokens), ignoreEos: true, seed: 3 };
  const penalties = { repetitionPenalty: 1.1, presencePenalty: 0.2, frequencyPenalty: 0.1 };
  for (const how of [{ temperature: 1 }, { temperature: 1.3, topP: 0.9, ...penalties }]) {
    update(Int32Array.from((await model.generate(ids, { ...draws, ...how }).result()).tokenIds));
  }
  const perplexity = await model.perplexity(ids);
  console.log(`${model.info.implementation} ${hash.digest('hex')} ${perplexity}`);
}

void main();
