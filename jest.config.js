'use strict';
const { join } = require('node:path');

// The tests compute on the CPU, whatever the machine has: `auto` finds no plug-in. Those of CUDA
// name theirs.
process.env.TRAMONTANE_CUDA_PLUGIN = join(__dirname, 'no-plug-in');

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/test/clients/'],
  setupFiles: ['<rootDir>/test/no-colours.js'],
  // What inject() of fastify needs, an ES module.
  transformIgnorePatterns: ['/node_modules/(?!cookie/)'],
  transform: {
    '/node_modules/cookie/.+\\.js$': ['@swc/jest', { module: { type: 'commonjs' } }],
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  testTimeout: 180_000,
};
