/**
 * Builds the native tests for AArch64 and runs those of the kernels under qemu: on a processor with
 * NEON's products of matrices, where tests go over all implementations, on one that has its dot
 * products alone, and on one without either, where the scalar kernels have to be chosen.
 *   node scripts/neon-tests.js
 * Debian's packages for it: g++-aarch64-linux-gnu qemu-user. The folder is build-aarch64.
 * CXX chooses the compiler, TRAMONTANE_WERROR=ON makes warnings errors.
 */
'use strict';
require('./help');
const { spawnSync } = require('node:child_process');
const { availableParallelism } = require('node:os');

const folder = 'build-aarch64';
const compiler = process.env.CXX ?? 'aarch64-linux-gnu-g++';
const jobs = String(availableParallelism());

function run(environment, command, ...args) {
  const set = Object.entries(environment).map(([name, value]) => `${name}=${value} `);
  console.log(`> ${set.join('')}${command} ${args.join(' ')}`);
  const env = { ...process.env, ...environment };
  const { status, error } = spawnSync(command, args, { env, stdio: 'inherit' });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(1);
}

function test(environment, files) {
  run(
    { ...environment, QEMU_LD_PREFIX: '/usr/aarch64-linux-gnu' },
    'ctest',
    ...['--test-dir', folder, '--parallel', jobs, '--output-on-failure', '--no-tests=error'],
    ...['--tests-regex', `^(${files.join('|')})_test$`],
  );
}

run(
  {},
  'cmake',
  ...['-S', '.', '-B', folder, '-D', 'CMAKE_SYSTEM_NAME=Linux'],
  ...['-D', 'CMAKE_SYSTEM_PROCESSOR=aarch64', '-D', `CMAKE_CXX_COMPILER=${compiler}`],
  ...['-D', 'CMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64', '-D', 'CMAKE_BUILD_TYPE=Release'],
  ...['-D', 'TRAMONTANE_CUDA=OFF'],
  ...['-D', `TRAMONTANE_WERROR=${process.env.TRAMONTANE_WERROR ?? 'OFF'}`],
);
run({}, 'cmake', '--build', folder, '--target', 'native-tests', '--parallel', jobs);

console.log('left out: base, engine, model, pages, sampling, threads');
// An implementation that is asked for by name and not supported is an error.
test({ QEMU_CPU: 'max', TRAMONTANE_CPU: 'neon-i8mm' }, [
  ...['linear', 'products', 'gptq', 'rows', 'attention', 'quant', 'cpu_backend', 'portable_math'],
]);
// An instruction these processors lack ends the test.
test({ QEMU_CPU: 'cortex-a76', TRAMONTANE_CPU: 'neon-dot' }, ['linear', 'gptq', 'cpu_backend']);
test({ QEMU_CPU: 'cortex-a53', TRAMONTANE_CPU: 'scalar' }, ['gptq', 'rows', 'cpu_backend']);
