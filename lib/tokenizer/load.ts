import { readTokenizerSource } from '../files/find-tokenizer';
import { fetched } from '../hub/resolve';
import { filePath, type FileUrl } from '../files/path';
import { createTokenizer } from './create';
import type { Tokenizer } from './tokenizer';

/**
 * Loads a tokenizer by itself, without a model and without the native addon.
 * @param path a .gguf file, a SentencePiece model of any name (`tokenizer.model`), a
 *   `tokenizer.json`, or a directory that holds one of them; may be a `file:` URL, or a source that is
 *   fetched first, as `pull()` takes it
 * @throws TramontaneError INVALID_OPTION, FILE_NOT_READABLE, INVALID_FILE or UNSUPPORTED_FILE; those of
 *   `pull()`
 */
export async function loadTokenizer(path: string | FileUrl): Promise<Tokenizer> {
  return createTokenizer(
    await readTokenizerSource(filePath('the path of a tokenizer', await fetched(path))),
  );
}
