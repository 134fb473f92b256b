/** Expressions that name modules in adapter_config.json. */
import { GrammarError } from '../errors';
import type { JsonObject } from '../files/json-object';
import { quoted } from '../files/problems';
import { accepts, toAutomaton } from '../grammar/automaton';
import { parseRegex } from '../grammar/regex';

/** Whether a module of the base model, `model.layers.0.self_attn.q_proj`, is meant. */
export type ModuleTest = (module: string) => boolean;

/** A name, in which a dot is taken as itself: no two modules differ in one alone. */
const PLAIN = /^[A-Za-z0-9_.]*$/;
const MAX_EXPRESSIONS = 64;
const MAX_LENGTH = 1000;

/**
 * Makes tests of Python's expressions, by automata: time grows with a name's length, whatever the
 * expression.
 * @param part what has to match: the `whole` name, or its `end` behind a dot
 */
export function modulePatterns(
  config: JsonObject,
  key: string,
  patterns: readonly string[],
  part: 'whole' | 'end',
): ModuleTest[] {
  let expressions = 0;
  return patterns.map((pattern) => {
    if (PLAIN.test(pattern)) {
      return (module) => module === pattern || (part === 'end' && module.endsWith(`.${pattern}`));
    }
    if (++expressions > MAX_EXPRESSIONS || pattern.length > MAX_LENGTH) {
      const limit = `${MAX_EXPRESSIONS} expressions of ${MAX_LENGTH} characters`;
      throw config.unsupported(key, `has more than ${limit}`);
    }
    const source = part === 'whole' ? pattern : `(.*\\.)?(${pattern})$`;
    try {
      const automaton = toAutomaton(parseRegex(source), { anchored: true });
      return (module) => accepts(automaton, module);
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      throw config.unsupported(key, `has the expression ${quoted(pattern)}: ${error.message}`);
    }
  });
}
