/** The platforms that have a prebuilt addon. */

export interface Target {
  /** As `--only` takes it. */
  readonly name: string;
  readonly platform: 'linux' | 'darwin' | 'win32';
  readonly arch: 'x64' | 'arm64';
  readonly libc?: 'glibc' | 'musl';
  /** What the compiler calls it, with the oldest system that it is to run on. */
  readonly triple: string;
}

/** The newest glibc whose symbols an addon may need: Node 20's own. */
export const GLIBC = '2.28';

/** The oldest macOS: cpp/binding.gyp has it too. */
export const MACOS = '11.0';

export const TARGETS: readonly Target[] = (['x64', 'arm64'] as const).flatMap((arch) => {
  const machine = arch === 'x64' ? 'x86_64' : 'aarch64';
  return [
    {
      name: `linux-${arch}-glibc`,
      platform: 'linux',
      arch,
      libc: 'glibc',
      triple: `${machine}-linux-gnu.${GLIBC}`,
    },
    {
      name: `linux-${arch}-musl`,
      platform: 'linux',
      arch,
      libc: 'musl',
      triple: `${machine}-linux-musl`,
    },
    { name: `win32-${arch}`, platform: 'win32', arch, triple: `${machine}-windows-gnu` },
    { name: `darwin-${arch}`, platform: 'darwin', arch, triple: `${machine}-macos.${MACOS}` },
  ] satisfies Target[];
});

/** Where a target's addon lies in the package, by the rules of node-gyp-build, which finds it. */
export function prebuiltFile({ platform, arch, libc }: Target): string {
  const tag = libc === undefined ? '' : `.${libc}`;
  return `prebuilds/${platform}-${arch}/tramontane${tag}.node`;
}

/** The target that this process runs on, if it is one. */
export function hostTarget(): Target | undefined {
  const { header } = process.report.getReport() as unknown as {
    header: { glibcVersionRuntime?: string };
  };
  const libc = header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  return TARGETS.find(
    (target) =>
      target.platform === process.platform &&
      target.arch === process.arch &&
      (target.libc === undefined || target.libc === libc),
  );
}
