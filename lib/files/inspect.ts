import type { Checkpoint, GptqFacts, ModelShape, SlidingWindow, Weight } from './checkpoint';
import { fetched } from '../hub/resolve';
import { openCheckpoint } from './open';
import { filePath, type FileUrl } from './path';

/** What a model file says about itself, read from its headers alone. */
export interface Inspection extends ModelShape {
  readonly path: string;
  readonly kind: 'gguf' | 'safetensors' | 'gptq';
  readonly architecture: string;
  readonly name?: string;
  readonly files: readonly { readonly path: string; readonly byteLength: number }[];
  /** Of all files together. */
  readonly fileBytes: number;
  /** Weights in the file, the embeddings included; a tied output counts once. */
  readonly parameters: number;
  /** Tensors per storage format. */
  readonly formats: Readonly<Record<string, number>>;
  /** How the weights are quantized, of the kind `gptq`. */
  readonly gptq?: GptqFacts;
  readonly slidingWindow: SlidingWindow;
  readonly tiedOutput: boolean;
  readonly tokenizer: string;
  /** Tokens that end a generation. */
  readonly endTokens: readonly number[];
  readonly chatTemplate?: string;
}

export function fileBytes(checkpoint: Checkpoint): number {
  return checkpoint.files.reduce((sum, file) => sum + file.byteLength, 0);
}

/** The weights, each once: the same tensor may be the embedding and the output. */
export function tensorsOf({ weights }: Checkpoint): Weight[] {
  return [...new Map(weights.map((weight) => [weight.name, weight])).values()];
}

/**
 * Reads the headers of a GGUF file or a Hugging Face directory, GPTQ included.
 * @param path may be a `file:` URL, or a source that is fetched first, as `pull()` takes it
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, INVALID_FILE, UNSUPPORTED_FILE; those of
 *   `pull()`
 */
export async function inspect(path: string | FileUrl): Promise<Inspection> {
  const checkpoint = await openCheckpoint(filePath('the path of a model', await fetched(path)));
  const tensors = tensorsOf(checkpoint);
  const parameters = tensors.reduce((sum, w) => sum + w.rows * w.columns, 0);
  return {
    path: checkpoint.path,
    kind: checkpoint.kind,
    architecture: checkpoint.architecture,
    ...(checkpoint.name !== undefined && { name: checkpoint.name }),
    files: checkpoint.files,
    fileBytes: fileBytes(checkpoint),
    parameters,
    formats: checkpoint.formats,
    ...(checkpoint.gptq !== undefined && { gptq: checkpoint.gptq }),
    ...checkpoint.shape,
    slidingWindow: checkpoint.slidingWindow,
    tiedOutput: tensors.length < checkpoint.weights.length,
    tokenizer: checkpoint.tokenizer.kind,
    endTokens: checkpoint.endTokens,
    ...(checkpoint.chatTemplate !== undefined && { chatTemplate: checkpoint.chatTemplate }),
  };
}
