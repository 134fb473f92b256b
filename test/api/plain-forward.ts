/**
 * The model as the papers define it, in plain loops over doubles: what logits should be. For models
 * small enough to be multiplied by hand.
 */

/** Weights [outputs][inputs] by their names in a Hugging Face file, without `.weight`. */
export type PlainWeights = ReadonlyMap<string, readonly (readonly number[])[]>;

export interface PlainShape {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly ropeBase: number;
  readonly epsilon: number;
}

type Vector = readonly number[];

/** Logits after each token. No window. */
export function plainLogits(
  weights: PlainWeights,
  shape: PlainShape,
  tokens: readonly number[],
): number[][] {
  const matrix = (name: string): readonly Vector[] => {
    const found = weights.get(name);
    if (found === undefined) throw new Error(`no weight ${name}`);
    return found;
  };
  const linear = (name: string, x: Vector): number[] => matrix(name).map((row) => dot(row, x));
  const norm = (name: string, x: Vector): number[] => {
    const root = Math.sqrt(dot(x, x) / x.length + shape.epsilon);
    return x.map((value, i) => (value / root) * matrix(name)[0]![i]!);
  };

  let states: number[][] = tokens.map((token) => [...matrix('model.embed_tokens')[token]!]);
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const inputs = states.map((x) => norm(`${prefix}.input_layernorm`, x));
    const queries = inputs.map((x, p) => rope(linear(`${prefix}.self_attn.q_proj`, x), p, shape));
    const keys = inputs.map((x, p) => rope(linear(`${prefix}.self_attn.k_proj`, x), p, shape));
    const values = inputs.map((x) => linear(`${prefix}.self_attn.v_proj`, x));
    states = states.map((x, p) => {
      const attended = attend(queries[p]!, keys.slice(0, p + 1), values, shape);
      const middle = add(x, linear(`${prefix}.self_attn.o_proj`, attended));
      const normed = norm(`${prefix}.post_attention_layernorm`, middle);
      const up = linear(`${prefix}.mlp.up_proj`, normed);
      const gated = linear(`${prefix}.mlp.gate_proj`, normed).map(
        (gate, i) => (gate / (1 + Math.exp(-gate))) * up[i]!,
      );
      return add(middle, linear(`${prefix}.mlp.down_proj`, gated));
    });
  }
  return states.map((x) => linear('lm_head', norm('model.norm', x)));
}

const dot = (a: Vector, b: Vector): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

const add = (a: Vector, b: Vector): number[] => a.map((value, i) => value + b[i]!);

/** Rotates i and i + d/2 of each head together, by position * base^(-2i/d). */
function rope(x: Vector, position: number, { headSize, ropeBase }: PlainShape): number[] {
  const half = headSize / 2;
  return x.map((value, at) => {
    const i = at % headSize;
    const angle = position * ropeBase ** ((-2 * (i % half)) / headSize);
    const [partner, sign] = i < half ? [x[at + half]!, -1] : [x[at - half]!, 1];
    return value * Math.cos(angle) + sign * partner * Math.sin(angle);
  });
}

function attend(
  query: Vector,
  keys: readonly Vector[],
  values: readonly Vector[],
  { heads, kvHeads, headSize }: PlainShape,
): number[] {
  return Array.from({ length: heads }, (_, head) => {
    const first = Math.floor(head / (heads / kvHeads)) * headSize;
    const part = query.slice(head * headSize, (head + 1) * headSize);
    const scores = keys.map((key) => dot(part, key.slice(first)) / Math.sqrt(headSize));
    const exponents = scores.map((score) => Math.exp(score - Math.max(...scores)));
    const total = exponents.reduce((sum, value) => sum + value);
    return Array.from({ length: headSize }, (_, i) =>
      exponents.reduce((sum, value, p) => sum + (value / total) * values[p]![first + i]!, 0),
    );
  }).flat();
}
