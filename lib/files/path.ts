import { fileURLToPath } from 'node:url';
import { TramontaneError } from '../errors';

/** A URL, as far as a path needs one: any URL object is one. */
export interface FileUrl {
  readonly protocol: string;
  readonly href: string;
}

/**
 * The path that a caller names: as a string, or as a `file:` URL in a string or an object.
 * @param name the argument's or option's, for messages
 * @throws TramontaneError INVALID_OPTION
 */
export function filePath(name: string, value: unknown): string {
  const text = isUrl(value) ? value.href : value;
  if (typeof text !== 'string' || text === '' || text.includes('\0')) {
    const what = typeof text === 'string' ? JSON.stringify(text) : typeof text;
    throw new TramontaneError('INVALID_OPTION', `${name} must be a path, but is ${what}`);
  }
  const [, scheme] = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text) ?? [];
  if (scheme === undefined) return text;
  if (scheme.toLowerCase() !== 'file') {
    const advice = 'only files on this machine can be read: download it, and name the file';
    throw new TramontaneError('INVALID_OPTION', `${name} is ${text}, but ${advice}`);
  }
  try {
    return fileURLToPath(text);
  } catch (cause) {
    const { message } = cause as Error;
    throw new TramontaneError('INVALID_OPTION', `${name} is no path: ${text}: ${message}`, {
      cause,
    });
  }
}

function isUrl(value: unknown): value is FileUrl {
  if (typeof value !== 'object' || value === null) return false;
  const { protocol, href } = value as Partial<Record<keyof FileUrl, unknown>>;
  return typeof protocol === 'string' && typeof href === 'string';
}

/** What to do about a path that names nothing, where its look tells what was meant. */
export function adviceFor(path: string): string {
  if (path.startsWith('~')) {
    return '; only a shell replaces ~ with the home directory: write it out, or use os.homedir()';
  }
  if (
    /^[\w.-]+\/[\w.-]+$/.test(path) &&
    !/\.(gguf|safetensors|json|model|bin|pt|pth)$/.test(path)
  ) {
    return (
      '; if it is the name of a model on Hugging Face, ' +
      `hf:${path} fetches it, and hf:${path}:Q4_K_M one of its GGUF files`
    );
  }
  return '';
}
