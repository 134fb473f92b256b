/** Wrong and half-right texts for the parsers of grammars. */
import { GrammarError } from '../../lib/errors';
import { toAutomaton } from '../../lib/grammar/automaton';
import { gbnfRules } from '../../lib/grammar/gbnf';
import { buildNetwork } from '../../lib/grammar/network';
import { parseRegex } from '../../lib/grammar/regex';
import { regexRules } from '../../lib/grammar/regex-expression';
import type { Random } from './random';

// prettier-ignore
const REGEX_PARTS = [
  'a', 'b', '.', '\\d', '\\W', '\\s', '[a-z]', '[^é-😀]', '(', ')', '(?:', '(?=', '(?<n>', '|', '*', '+', '?', '{2}', '{3,}', '{0,900}',
  '{1,100000}', '{', '}', '[', ']', '^', '$', '\\', '\\u', '{1F600}', '\\p{L}', '\\P{', '\\x4', '-', '\\1', '\\cA', '\ud800', 'é', '😀', '\n',
];
// prettier-ignore
const GBNF_PARTS = [
  'root', 'root ::= ', '\nroot ::= ', '\na ::= ', 'a', ' a ', 'b', '\n', ' ', '::=', '"', '"x"', '"\\n"', '\\', '\\u00', '[a-z]', '[^', ']', '.', '(', ')',
  ' | ', '*', '+', '?', '{2}', '{2,', '}', '{0,100000}', '#', '<[5]>', '<', '\r', 'é', '😀', '\ud800',
];

/**
 * Compiles one random text. Throws if anything but a GrammarError came of it.
 * @param mostMs throws if it took longer
 */
export function fuzzOnce(random: Random, mostMs = Infinity): 'compiled' | 'refused' {
  const isRegex = random.below(2) === 0;
  const parts = isRegex ? REGEX_PARTS : GBNF_PARTS;
  let source = isRegex || random.below(2) === 0 ? '' : 'root ::= a "b"\na ::= ';
  for (let i = random.below(1 + random.below(25)); i >= 0; i--) source += random.pick(parts);
  const started = performance.now();
  let outcome: 'compiled' | 'refused' = 'compiled';
  try {
    if (isRegex) {
      toAutomaton(parseRegex(source), { anchored: random.below(2) === 0 });
      buildNetwork(regexRules(source));
    } else {
      buildNetwork(gbnfRules(source));
    }
  } catch (error) {
    if (!(error instanceof GrammarError)) {
      throw new Error(`not a GrammarError: ${JSON.stringify(source)}`, { cause: error });
    }
    outcome = 'refused';
  }
  const took = performance.now() - started;
  if (took > mostMs) throw new Error(`${took.toFixed(0)} ms: ${JSON.stringify(source)}`);
  return outcome;
}
