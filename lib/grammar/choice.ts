import { GrammarError } from '../errors';
import { type RuleSet, text } from './expression';

/** Any of the texts, and nothing else. */
export function choiceRules(list: readonly string[]): RuleSet {
  if (list.length === 0) throw new GrammarError('choice: has no texts', { keyword: 'choice' });
  return { rules: [{ name: 'choice', expression: { type: 'choice', items: list.map(text) } }] };
}
