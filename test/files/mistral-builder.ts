/** Builds directories in Mistral's own layout. */
import { HfBuilder } from './hf-builder';
import type { Contents } from './memory';

/** What Mistral's own files call the modules that Hugging Face's call by the first name. */
export const MISTRAL_MODULES: readonly (readonly [
  huggingFace: string | RegExp,
  mistral: string,
])[] = [
  ['model.embed_tokens', 'tok_embeddings'],
  [/^model\.layers/, 'layers'],
  ['input_layernorm', 'attention_norm'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['self_attn.q_proj', 'attention.wq'],
  ['self_attn.k_proj', 'attention.wk'],
  ['self_attn.v_proj', 'attention.wv'],
  ['self_attn.o_proj', 'attention.wo'],
  ['mlp.gate_proj', 'feed_forward.w1'],
  ['mlp.down_proj', 'feed_forward.w2'],
  ['mlp.up_proj', 'feed_forward.w3'],
  ['model.norm', 'norm'],
  ['lm_head', 'output'],
];

const PARAMS = {
  dim: 64,
  n_layers: 1,
  head_dim: 16,
  hidden_dim: 96,
  n_heads: 4,
  n_kv_heads: 2,
  norm_eps: 1e-5,
  vocab_size: 32,
};

/** A directory in Mistral's own layout: the small model of {@link HfBuilder} under other names. */
export function mistralContents(
  params: object = {},
  change: (hf: HfBuilder) => void = () => undefined,
): Contents {
  const hf = new HfBuilder();
  hf.weightsName = 'consolidated.safetensors';
  for (const tensor of hf.tensors) {
    for (const [name, other] of MISTRAL_MODULES) tensor.name = tensor.name.replace(name, other);
  }
  hf.files['params.json'] = JSON.stringify({ ...PARAMS, ...params });
  change(hf);
  const contents = hf.contents();
  delete contents['config.json'];
  return contents;
}
