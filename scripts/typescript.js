/**
 * Lets Node run this repository's TypeScript where it lies, without a build:
 *   node -r ./scripts/typescript.js scripts/NAME.ts
 * For scripts, and for tests that start processes and worker threads of their own.
 */
'use strict';
const { transformFileSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformFileSync(filename, {
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
    swcrc: false,
  });
  module._compile(code, filename);
};
