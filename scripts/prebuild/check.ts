/** What a prebuilt addon may need of the system that loads it. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { GLIBC, MACOS, type Target } from './targets';

/** The largest an addon may be, in bytes: eight of them, compressed, are to fit in 10 MB. */
const SIZE = 5e6;

/** @returns what is wrong with a file, a line each */
export function faults(target: Target, file: string): string[] {
  const found = { linux: linuxFaults, darwin: darwinFaults, win32: windowsFaults }[target.platform](
    target,
    file,
  );
  const { length } = readFileSync(file);
  if (length > SIZE) found.push(`has ${length} bytes, more than ${SIZE}`);
  return found;
}

/** Needed libraries, needed versions and exported symbols, as objdump (binutils) reads them. */
function linuxFaults({ arch, libc }: Target, file: string): string[] {
  const found: string[] = [];
  const machine = readFileSync(file).readUInt16LE(18); // e_machine
  if (machine !== (arch === 'x64' ? 62 : 183)) found.push(`is for machine ${machine}`);
  const text = execFileSync('objdump', ['-p', '-T', file], { encoding: 'utf8' });
  const libraries = [...text.matchAll(/NEEDED +(\S+)/g)].map(([, name]) => name!);
  const allowed =
    libc === 'musl'
      ? /^libc\.so$/
      : /^(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$/;
  for (const name of libraries) if (!allowed.test(name)) found.push(`needs ${name}`);
  for (const [version, major, minor] of text.matchAll(/\bGLIBC_(\d+)\.(\d+)\b/g)) {
    const [newestMajor, newestMinor] = GLIBC.split('.').map(Number);
    const newer =
      Number(major) > newestMajor! ||
      (Number(major) === newestMajor && Number(minor) > newestMinor!);
    if (newer || libc === 'musl') found.push(`needs ${version}`);
  }
  if (/GLIBCXX_|CXXABI_/.test(text)) found.push('needs the system’s libstdc++');
  const exported = [...text.matchAll(/^[0-9a-f]+ .{7} (?!\*UND\*)\S+\t[0-9a-f]+ +(.*\s)?(\S+)$/gm)]
    .map(([, , name]) => name!)
    .sort();
  const expected = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
  if (exported.join() !== expected.join())
    found.push(`exports ${exported.join(', ') || 'nothing'}`);
  return [...new Set(found)];
}

/** Imported DLLs: those that every Windows has, and nothing of the program that loads it. */
function windowsFaults({ arch }: Target, file: string): string[] {
  const bytes = readFileSync(file);
  const header = bytes.readUInt32LE(0x3c);
  const found: string[] = [];
  const machine = bytes.readUInt16LE(header + 4);
  if (machine !== (arch === 'x64' ? 0x8664 : 0xaa64)) found.push(`is for machine ${machine}`);
  // msvcrt is the C library that zig's Windows has: a part of the system since 2000.
  const allowed = /^(kernel32|ntdll|advapi32|psapi|msvcrt|ucrtbase|api-ms-win-[\w-]+)\.dll$/i;
  for (const name of windowsImports(bytes)) if (!allowed.test(name)) found.push(`needs ${name}`);
  if (!bytes.includes('napi_register_module_v1\0')) found.push('exports no module');
  return found;
}

/** The names in the import directory of a PE32+ file. */
function windowsImports(bytes: Buffer): string[] {
  const header = bytes.readUInt32LE(0x3c);
  const optional = header + 24;
  const sections = optional + bytes.readUInt16LE(header + 20);
  const count = bytes.readUInt16LE(header + 6);
  const offsetOf = (address: number): number => {
    for (let i = 0; i < count; i++) {
      const section = sections + 40 * i;
      const begin = bytes.readUInt32LE(section + 12);
      const size = bytes.readUInt32LE(section + 16);
      if (address >= begin && address < begin + size)
        return address - begin + bytes.readUInt32LE(section + 20);
    }
    throw new Error('a bad import directory');
  };
  const names: string[] = [];
  const directory = bytes.readUInt32LE(optional + 112 + 8); // The second one.
  for (let entry = offsetOf(directory); bytes.readUInt32LE(entry + 12) !== 0; entry += 20) {
    const name = offsetOf(bytes.readUInt32LE(entry + 12));
    names.push(bytes.toString('latin1', name, bytes.indexOf(0, name)));
  }
  return names;
}

const CPU_TYPES = { x64: 0x01000007, arm64: 0x0100000c };
const LC_LOAD_DYLIB = 0xc;
const LC_BUILD_VERSION = 0x32;
const LC_CODE_SIGNATURE = 0x1d;

/** Mach-O's load commands: libraries of the system only, no newer macOS, signed for arm64. */
function darwinFaults({ arch }: Target, file: string): string[] {
  const bytes = readFileSync(file);
  const found: string[] = [];
  if (bytes.readUInt32LE(0) !== 0xfeedfacf || bytes.readUInt32LE(4) !== CPU_TYPES[arch]) {
    return [`is not Mach-O for ${arch}`];
  }
  let signed = false;
  let oldest = '';
  let offset = 32;
  for (let i = 0; i < bytes.readUInt32LE(16); i++) {
    const command = bytes.readUInt32LE(offset);
    if (command === LC_LOAD_DYLIB) {
      const begin = offset + bytes.readUInt32LE(offset + 8);
      const name = bytes.toString('latin1', begin, bytes.indexOf(0, begin));
      if (name !== '/usr/lib/libSystem.B.dylib') found.push(`needs ${name}`);
    }
    if (command === LC_BUILD_VERSION) {
      oldest = `${bytes.readUInt16LE(offset + 14)}.${bytes.readUInt8(offset + 13)}`;
    }
    signed ||= command === LC_CODE_SIGNATURE;
    offset += bytes.readUInt32LE(offset + 4);
  }
  if (oldest !== MACOS) found.push(`is for macOS ${oldest || 'of any version'}, not ${MACOS}`);
  if (arch === 'arm64' && !signed) found.push('is not signed'); // arm64 loads nothing unsigned.
  if (!bytes.includes('_napi_register_module_v1\0')) found.push('exports no module');
  return found;
}
