/** What is said about a GPTQ checkpoint in a few lines, however many modules it has. */
import type { GptqFacts, Weight } from '../checkpoint';
import { gptqFormatName } from './weights';
import type { GptqConfig } from './config';
import { isNorm } from '../weights';

export function gptqFacts(config: GptqConfig, weights: readonly Weight[]): GptqFacts {
  const { bits, groupSize, zeroBias } = config.general;
  const usual = gptqFormatName(config.general);
  const plain: string[] = [];
  const others = new Map<string, string[]>();
  for (const { name, role, storage } of weights) {
    if (isNorm(role) || role === 'token_embedding') continue;
    if (storage.format !== 'GPTQ') {
      plain.push(role === 'output' ? 'lm_head' : name.replace(/\.weight$/, ''));
      continue;
    }
    const format = gptqFormatName(config.rules(name));
    if (format !== usual) others.set(format, [...(others.get(format) ?? []), name]);
  }
  const otherModules = [...others].flatMap(([format, names]) =>
    shortNames(names).map((name) => [name, format] as const),
  );
  return {
    bits,
    groupSize: groupSize ?? null,
    actOrder: weights.some(({ storage: s }) => s.format === 'GPTQ' && s.gptq.actOrder),
    ...(config.symmetric === undefined ? {} : { symmetric: config.symmetric }),
    zeroFormat: zeroBias === 1 ? 'v1' : 'v2',
    plainModules: shortNames(plain),
    otherModules: Object.fromEntries(otherModules),
  };
}

/**
 * Names that differ in the layer only become one: `model.layers.0.mlp.up_proj`, the same of 1, 2
 * and 5 give `model.layers.0-2,5.mlp.up_proj`. `names` have their layers in ascending order.
 */
function shortNames(names: readonly string[]): string[] {
  const layers = new Map<string, number[]>();
  for (const name of names) {
    const [layer] = /(?<=^model\.layers\.)\d+/.exec(name) ?? [];
    const pattern = name.replace(/(?<=^model\.layers\.)\d+/, '*');
    const seen = layers.get(pattern) ?? [];
    layers.set(pattern, layer === undefined ? seen : [...seen, Number(layer)]);
  }
  return [...layers].map(([pattern, numbers]) => pattern.replace('*', () => ranges(numbers)));
}

/** `0-2,5` of 0, 1, 2, 5. */
function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run?.[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join();
}
