/**
 * Files that are often found where a model should be: each is known by its first bytes, and named
 * together with what to do.
 */
import type { TramontaneError } from '../errors';
import { invalid, quoted, unsupported } from './problems';

/** How many bytes {@link notAModel} wants to see. */
export const START_BYTES = 512;

/**
 * The error for a file that is no model, tokenizer or configuration; undefined when its start does
 * not show it.
 * @param start the first {@link START_BYTES} bytes, or all there are
 */
export function notAModel(path: string, start: Buffer): TramontaneError | undefined {
  if (start.length === 0) return invalid(path, 'is empty; download it again');
  const text = start.toString('latin1');
  const lfsSize = /^version https:\/\/git-lfs[^]*\nsize (\d+)/.exec(text)?.[1];
  if (text.startsWith('version https://git-lfs')) {
    const size = lfsSize === undefined ? '' : ` of ${lfsSize} bytes`;
    const advice = 'run "git lfs pull" in its directory, or download the file itself';
    return invalid(path, `a Git LFS pointer to a file${size}, and not that file; ${advice}`);
  }
  if (/^(\u00ef\u00bb\u00bf)?\s*<(!doctype|html|\?xml)/i.test(text)) {
    const advice =
      'download the file itself; a page to sign in or to accept terms may be in the way';
    return invalid(path, `a web page, and not the file that its name says; ${advice}`);
  }
  if (
    /^(Entry not found|Repository not found|Invalid |Access to |Unauthorized|\{"error)/.test(text)
  ) {
    const line = text.split('\n', 1)[0];
    return invalid(path, `the answer of a server, ${quoted(line)}; download the file again`);
  }
  const archive = ARCHIVES.find(([magic]) => text.startsWith(magic))?.[1];
  if (archive !== undefined) return unsupported(path, archive);
  // A download that reserved its space and did not get further.
  if (start.length >= 64 && start.every((byte) => byte === 0)) {
    return invalid(path, 'begins with zeros, as a file does whose download did not end');
  }
  return undefined;
}

const PICKLE =
  "PyTorch's pickles are not read, since they can run code; take the safetensors or GGUF files of the same model";
const UNPACK = 'unpack it first';

/** First bytes, and what is said of them. */
const ARCHIVES: readonly [string, string][] = [
  ['PK\u0003\u0004', `a zip archive, as PyTorch writes .bin and .pt files; ${PICKLE}`],
  ...['\u0002', '\u0003', '\u0004', '\u0005'].map((protocol): [string, string] => [
    `\u0080${protocol}`,
    `a pickle; ${PICKLE}`,
  ]),
  ['\u001f\u008b', `compressed with gzip; ${UNPACK}`],
  ['(\u00b5/\u00fd', `compressed with zstd; ${UNPACK}`],
  ['\u00fd7zXZ', `compressed with xz; ${UNPACK}`],
  ['BZh', `compressed with bzip2; ${UNPACK}`],
  ['lmgg', 'a GGML file from before GGUF; take a GGUF file of the same model'],
  ['fmgg', 'a GGML file from before GGUF; take a GGUF file of the same model'],
  ['tjgg', 'a GGML file from before GGUF; take a GGUF file of the same model'],
  ['algg', 'a LoRA adapter in a format from before GGUF; open the model it was made for'],
];
