/**
 * The CUDA plug-in that tests use: the one named by TRAMONTANE_CUDA_TEST_PLUGIN, for a machine with a
 * GPU, else the same kernels on the emulator, which `npm run test:native` builds.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = join(__dirname, '../..');
const built = join(root, 'build-native/cuda');
const named = process.env['TRAMONTANE_CUDA_TEST_PLUGIN'];

export const emulated = named === undefined;
export const plugin =
  named === undefined ? join(built, 'libtramontane_cuda_emulated.so') : resolve(named);
/** A plug-in of a version that does not exist. */
export const otherVersion = join(built, 'libtramontane_cuda_other_version.so');

/** A `describe` whose tests need the plug-in; without it one skipped test stands for all of them. */
export function describeWithPlugin(name: string, body: () => void): void {
  if (!emulated && !existsSync(plugin)) throw new Error(`there is no ${plugin}`);
  if (existsSync(plugin)) {
    describe(name, body);
    return;
  }
  process.stderr.write(`skipped: "${name}": no emulated plug-in (run: npm run test:native)\n`);
  describe.skip(name, () => {
    test('needs the emulated plug-in: npm run test:native', () => undefined);
  });
}

/** The same for tests of what a real machine cannot be asked to show. */
export function describeEmulated(name: string, body: () => void): void {
  if (emulated) describeWithPlugin(name, body);
}

/** For a whole test file: models loaded with `backend: 'cuda'` use the plug-in. */
export function usePlugin(path = plugin): void {
  process.env['TRAMONTANE_CUDA_PLUGIN'] = path;
}
