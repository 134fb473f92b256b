/** For scripts: with --help among the arguments, prints the comment a script begins with and ends. */
'use strict';
const { readFileSync } = require('node:fs');

if (process.argv.includes('--help')) {
  const [, comment] = /\/\*\*\n(.*?)\n? \*\//s.exec(readFileSync(process.argv[1], 'utf8'));
  console.log(comment.replace(/^ \* ?/gm, ''));
  process.exit();
}
