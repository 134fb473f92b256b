/**
 * Compiles random regular expressions and GBNF. Stops at the first that throws anything but a
 * GrammarError or takes more than a second.
 *
 *   npm run script scripts/fuzz-grammars.ts [-- COUNT [SEED]]
 */
import './help';
import { fuzzOnce } from '../test/grammar/fuzz';
import { Random } from '../test/grammar/random';

const count = Number(process.argv[2] ?? 100_000);
const random = new Random(Number(process.argv[3] ?? Date.now() % 2 ** 31));
const outcomes = { compiled: 0, refused: 0 };
for (let i = 0; i < count; i++) outcomes[fuzzOnce(random, 1000)]++;
process.stdout.write(
  `${count} texts: ${outcomes.compiled} compiled, ${outcomes.refused} refused\n`,
);
