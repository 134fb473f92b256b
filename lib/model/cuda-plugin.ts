/** Where the CUDA plug-in is. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { addonPath } from './addon';

/**
 * The CUDA plug-in: the file named by TRAMONTANE_CUDA_PLUGIN, else the one beside the addon, else
 * the one that a build in the repository leaves in build-cuda (see docs/cuda.md).
 */
export function findCudaPlugin():
  { readonly path: string } | { readonly path?: undefined; readonly problem: string } {
  const named = process.env['TRAMONTANE_CUDA_PLUGIN'];
  if (named !== undefined && named !== '') {
    const path = resolve(named);
    if (existsSync(path)) return { path };
    return { problem: `TRAMONTANE_CUDA_PLUGIN names ${path}, which is not there` };
  }
  if (process.platform === 'darwin') return { problem: 'there is no CUDA on macOS' };
  const name = process.platform === 'win32' ? 'tramontane_cuda.dll' : 'libtramontane_cuda.so';
  const addon = addonPath();
  const places = [
    ...(addon === undefined ? [] : [join(dirname(addon), name)]),
    join(__dirname, '../../build-cuda/cuda', name),
  ];
  const path = places.find((place) => existsSync(place));
  if (path !== undefined) return { path };
  return {
    problem:
      `the CUDA plug-in is not installed (no ${places.join(', no ')}): build it as docs/cuda.md ` +
      'says, and put it there or name it in TRAMONTANE_CUDA_PLUGIN',
  };
}
