/**
 * Short names of the Mistral 7B family: Mistral's own models, and fine-tunes that many use. Each is
 * one that the chat formats of lib/chat know.
 */
export interface Alias {
  /** What `tramontane pull NAME` takes, in lower case. */
  readonly name: string;
  /** The repository and the file in it, as `hf:OWNER/REPO:QUANT`. */
  readonly source: string;
  /** What it is, in one line. */
  readonly about: string;
  /** By the model's card, where it is known. */
  readonly licence?: string;
}

const APACHE = 'Apache-2.0';
const QUANT = 'Q4_K_M';

export const aliases: readonly Alias[] = [
  {
    name: 'mistral:7b-v0.1',
    source: `hf:TheBloke/Mistral-7B-v0.1-GGUF:${QUANT}`,
    about: 'Mistral, September 2023, base; sliding window of 4096',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-instruct-v0.1',
    source: `hf:TheBloke/Mistral-7B-Instruct-v0.1-GGUF:${QUANT}`,
    about: 'Mistral, September 2023, for conversations; sliding window',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-v0.2',
    source: 'hf:mistral-community/Mistral-7B-v0.2',
    about: 'Mistral, March 2024, base; context of 32k; bf16, 14.5 GB',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-instruct-v0.2',
    source: `hf:TheBloke/Mistral-7B-Instruct-v0.2-GGUF:${QUANT}`,
    about: 'Mistral, December 2023, for conversations; context of 32k',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-instruct-v0.2-gptq',
    source: 'hf:TheBloke/Mistral-7B-Instruct-v0.2-GPTQ',
    about: 'the same, by GPTQ: 4 bits, groups of 128, act-order',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-v0.3',
    source: `hf:MaziyarPanahi/Mistral-7B-v0.3-GGUF:${QUANT}`,
    about: 'Mistral, May 2024, base; larger vocabulary',
    licence: APACHE,
  },
  {
    name: 'mistral:7b-instruct-v0.3',
    source: `hf:MaziyarPanahi/Mistral-7B-Instruct-v0.3-GGUF:${QUANT}`,
    about: 'Mistral, May 2024, for conversations, with tools: the one to begin with',
    licence: APACHE,
  },
  {
    name: 'zephyr-7b-alpha',
    source: `hf:TheBloke/zephyr-7B-alpha-GGUF:${QUANT}`,
    about: 'Hugging Face H4, on v0.1, tuned by preferences; the first',
    licence: 'MIT',
  },
  {
    name: 'zephyr-7b-beta',
    source: `hf:TheBloke/zephyr-7B-beta-GGUF:${QUANT}`,
    about: 'Hugging Face H4, on v0.1, tuned by preferences; the second',
    licence: 'MIT',
  },
  {
    name: 'openhermes-2.5',
    source: `hf:TheBloke/OpenHermes-2.5-Mistral-7B-GGUF:${QUANT}`,
    about: 'Teknium, on v0.1: all-round, much code; ChatML',
    licence: APACHE,
  },
  {
    name: 'hermes-2-pro',
    source: `hf:NousResearch/Hermes-2-Pro-Mistral-7B-GGUF:${QUANT}`,
    about: 'Nous Research, on v0.1: tools and JSON; ChatML',
    licence: APACHE,
  },
  {
    name: 'nous-hermes-2-dpo',
    source: `hf:NousResearch/Nous-Hermes-2-Mistral-7B-DPO-GGUF:${QUANT}`,
    about: 'Nous Research, OpenHermes 2.5 tuned by preferences; ChatML',
    licence: APACHE,
  },
  {
    name: 'openchat-3.5',
    source: `hf:TheBloke/openchat_3.5-GGUF:${QUANT}`,
    about: 'OpenChat, on v0.1: conversations and code',
    licence: APACHE,
  },
  {
    name: 'openchat-3.5-0106',
    source: `hf:TheBloke/openchat-3.5-0106-GGUF:${QUANT}`,
    about: 'OpenChat, January 2024: the later one, better at code',
    licence: APACHE,
  },
  {
    name: 'starling-lm-7b-alpha',
    source: `hf:TheBloke/Starling-LM-7B-alpha-GGUF:${QUANT}`,
    about: "Berkeley's Nest, on OpenChat 3.5, by AI feedback; not for commerce",
    licence: 'CC-BY-NC-4.0',
  },
  {
    name: 'starling-lm-7b-beta',
    source: `hf:bartowski/Starling-LM-7B-beta-GGUF:${QUANT}`,
    about: 'Nexusflow, on OpenChat 3.5 0106, by AI feedback',
    licence: APACHE,
  },
  {
    name: 'dolphin-2.6',
    source: `hf:TheBloke/dolphin-2.6-mistral-7B-GGUF:${QUANT}`,
    about: 'Eric Hartford, on v0.1: code, refuses little; ChatML',
    licence: APACHE,
  },
  {
    name: 'dolphin-2.8',
    source: `hf:bartowski/dolphin-2.8-mistral-7b-v02-GGUF:${QUANT}`,
    about: 'Eric Hartford, on v0.2: code, refuses little; ChatML',
    licence: APACHE,
  },
  {
    name: 'neural-chat-v3-1',
    source: `hf:TheBloke/neural-chat-7B-v3-1-GGUF:${QUANT}`,
    about: 'Intel, on v0.1, tuned by preferences',
    licence: APACHE,
  },
  {
    name: 'neural-chat-v3-3',
    source: `hf:TheBloke/neural-chat-7B-v3-3-GGUF:${QUANT}`,
    about: 'Intel, on v0.1, tuned on mathematics too',
    licence: APACHE,
  },
  {
    name: 'openorca',
    source: `hf:TheBloke/Mistral-7B-OpenOrca-GGUF:${QUANT}`,
    about: "Open-Orca, on v0.1: GPT-4's explanations; ChatML",
    licence: APACHE,
  },
  {
    name: 'biomistral-7b',
    source: `hf:BioMistral/BioMistral-7B-GGUF:${QUANT}`,
    about: 'on Instruct v0.1, medical texts; for research, not for patients',
    licence: APACHE,
  },
];
