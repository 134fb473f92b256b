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
