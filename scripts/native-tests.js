/**
 * Builds the native tests and runs them by ctest.
 *   node scripts/native-tests.js [SANITIZERS] [--kernels] [--threads]
 * SANITIZERS are such as `address,undefined` or `thread`.
 * Each kind of build has a folder of its own: build-native, build-address-undefined, build-thread.
 * The x86 linear kernels get AddressSanitizer only, unless --kernels asks for all: that takes
 * minutes more to compile.
 * --threads leaves out what runs on one thread alone: tests of single kernels, and CUDA's on its
 * emulator.
 * CXX chooses the compiler, TRAMONTANE_WERROR=ON makes warnings errors.
 */
'use strict';
require('./help');
const { spawnSync } = require('node:child_process');
const { availableParallelism } = require('node:os');
const { parseArgs } = require('node:util');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kernels: { type: 'boolean' }, threads: { type: 'boolean' } },
});
const [sanitize = ''] = positionals;
const kernels = values.kernels ? 'ON' : 'OFF';
const WITH_THREADS =
  '^(base|cpu_backend|engine|grammar|grammar_engine|memory|model|pages|products|scheduler|thread_pool|train)_test$';
const folder = sanitize === '' ? 'build-native' : `build-${sanitize.replaceAll(',', '-')}`;
const jobs = String(availableParallelism());

function run(command, ...args) {
  console.log(`> ${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error?.code === 'ENOENT') {
    console.error(
      `${command} is missing, which the native tests need: apt-get install cmake, ` +
        'brew install cmake or winget install Kitware.CMake. Without: npm run test:jest',
    );
  } else if (error) {
    console.error(`${command}: ${error.message}`);
  }
  if (status !== 0) process.exit(1);
}

run(
  'cmake',
  ...['-S', '.', '-B', folder, '-D', `TRAMONTANE_SANITIZE=${sanitize}`],
  ...['-D', `CMAKE_BUILD_TYPE=${sanitize === '' ? 'Release' : 'RelWithDebInfo'}`],
  ...['-D', `TRAMONTANE_SANITIZE_KERNELS=${kernels}`],
  ...['-D', `TRAMONTANE_WERROR=${process.env.TRAMONTANE_WERROR ?? 'OFF'}`],
);
run(
  'cmake',
  ...['--build', folder, '--config', 'Release', '--parallel', jobs],
  ...(values.threads ? ['--target', 'native-tests'] : []),
);
run(
  'ctest',
  ...['--test-dir', folder, '-C', 'Release', '--parallel', jobs],
  ...['--output-on-failure', '--no-tests=error'],
  ...(values.threads ? ['--tests-regex', WITH_THREADS] : []),
);
