/** From a Hugging Face directory, in floats or quantized by GPTQ, to a checkpoint. */
import type { Checkpoint } from '../checkpoint';
import type { Folder } from '../byte-source';
import { gptqFacts } from '../gptq/summary';
import { readGptqConfig } from '../gptq/config';
import { readChatTemplates, readEndTokens, readHfModel } from './config';
import { withTensors, type HfTensors } from './tensors';
import { countFormats, readWeights, refuseOthers } from './weights';
import { JSON_LIMITS } from '../limits';
import { readJson } from '../json-object';
import { quoted, unsupported } from '../problems';
import { folderTokenizer } from '../find-tokenizer';
import { isNorm, slots } from '../weights';

/**
 * Reads a directory that has a config.json. `path` is the one the user gave.
 * @param only the one safetensors file to take, when the user named it
 */
export async function readHfCheckpoint(
  folder: Folder,
  path: string,
  only?: string,
): Promise<Checkpoint> {
  const config = await readJson(folder, 'config.json', JSON_LIMITS.config);
  const { architecture, shape, slidingWindow, tied } = readHfModel(config);
  const wanted = slots(shape);
  const modules = wanted.filter(({ role }) => !isNorm(role)).map(({ module }) => module);
  const gptq = await readGptqConfig(folder, config, modules);
  const endTokens = await readEndTokens(folder, config, shape.vocabularySize);
  const tokenizer = await folderTokenizer(folder);
  const templates = await readChatTemplates(folder);

  const named = `${gptq?.weightsName}.safetensors`;
  const file = only ?? (folder.names.has(named) ? named : undefined);
  return withTensors(folder, file, async (found) => {
    refuseMistralNames(found);
    const weights = await readWeights(wanted, found, gptq, tied);
    await refuseOthers(found, wanted, gptq !== undefined);
    const quantized = weights.some(({ storage }) => storage.format === 'GPTQ');
    return {
      path,
      kind: quantized ? 'gptq' : 'safetensors',
      architecture,
      files: found.sources.map((source) => ({ path: source.path, byteLength: source.byteLength })),
      shape,
      slidingWindow,
      weights,
      formats: countFormats(weights, gptq),
      ...(quantized && gptq !== undefined ? { gptq: gptqFacts(gptq, weights) } : {}),
      tokenizer,
      endTokens,
      ...templates,
    };
  });
}

/** Weights of Mistral's own layout are in another order than config.json says. */
function refuseMistralNames(found: HfTensors): void {
  for (const { name, source, at } of found.tensors.values()) {
    if (!/^layers\.\d+\.(attention|feed_forward)\.w/.test(name)) continue;
    const advice = 'put its params.json beside it, and name the file consolidated.safetensors';
    const problem = `tensor ${quoted(name)} is in Mistral's own layout; ${advice}`;
    throw unsupported(source.path, problem, at);
  }
}
