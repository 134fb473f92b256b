/**
 * Writes a header with a hash of the seam's headers: an addon and a plug-in that were compiled of
 * others do not fit. cpp/binding.gyp runs it; CMakeLists.txt computes the same.
 *   node cpp/backend/write_seam_hash.js FILE
 */
'use strict';
const { createHash } = require('node:crypto');
const { readFileSync, readdirSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// All of both folders, so that a header cannot be forgotten.
const hashes = ['backend', 'quant'].flatMap((folder) => {
  const path = join(__dirname, '..', folder);
  const headers = readdirSync(path).filter((name) => name.endsWith('.h'));
  return headers.sort().map((name) => sha256(readFileSync(join(path, name))));
});
const hash = sha256(hashes.join('')).slice(0, 16);
writeFileSync(process.argv[2], `#define TRAMONTANE_SEAM_HASH 0x${hash}ull\n`);
