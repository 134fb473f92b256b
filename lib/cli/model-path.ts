/** The model that a command is given, on this machine: a source is fetched first, with a bar. */
import { fetched } from '../hub/resolve';
import { DownloadBar } from './download-bar';

/**
 * @param source a path, or what `tramontane pull` takes
 * @param signal ends a download; what has come is kept
 * @throws TramontaneError as `pull()` does
 */
export async function modelPath(source: string, signal?: AbortSignal): Promise<string> {
  const bar = new DownloadBar();
  try {
    return await fetched(source, {
      signal,
      onProgress: (progress) => {
        bar.update(progress);
      },
    });
  } finally {
    bar.clear();
  }
}
