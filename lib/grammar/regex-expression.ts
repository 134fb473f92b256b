import { toAutomaton } from './automaton';
import { EMPTY, type Expression, type RuleSet, repeat, text } from './expression';
import { type Regex, parseRegex } from './regex';

/** The texts that match a regular expression as a whole. */
export function regexRules(source: string): RuleSet {
  return { rules: [{ name: 'regex', expression: regexExpression(parseRegex(source)) }] };
}

/**
 * The texts that match `regex` as a whole. Counts stay counts, however large, unless an anchor
 * inside needs an automaton.
 */
export function regexExpression(regex: Regex): Expression {
  const bare = withoutOuterAnchors(regex, true, true);
  if (!hasAnchor(bare)) return toExpression(bare);
  return { type: 'automaton', automaton: toAutomaton(regex, { anchored: true }) };
}

/** Without the anchors that say nothing, since the whole text must match. */
function withoutOuterAnchors(regex: Regex, isFirst: boolean, isLast: boolean): Regex {
  switch (regex.type) {
    case 'start':
      return isFirst ? NO_TEXT : regex;
    case 'end':
      return isLast ? NO_TEXT : regex;
    case 'choice': {
      const items = regex.items.map((item) => withoutOuterAnchors(item, isFirst, isLast));
      return { type: 'choice', items };
    }
    case 'sequence': {
      const last = regex.items.length - 1;
      const items = regex.items.map((item, i) =>
        withoutOuterAnchors(item, isFirst && i === 0, isLast && i === last),
      );
      return { type: 'sequence', items };
    }
    default:
      return regex;
  }
}

const NO_TEXT: Regex = { type: 'sequence', items: [] };

function hasAnchor(regex: Regex): boolean {
  switch (regex.type) {
    case 'start':
    case 'end':
      return true;
    case 'choice':
    case 'sequence':
      return regex.items.some(hasAnchor);
    case 'repeat':
      return hasAnchor(regex.item);
    case 'characters':
      return false;
  }
}

function toExpression(regex: Regex): Expression {
  switch (regex.type) {
    case 'characters':
      return regex;
    case 'choice':
      return { type: 'choice', items: regex.items.map(toExpression) };
    case 'repeat':
      return repeat(toExpression(regex.item), regex.least, regex.most);
    case 'sequence':
      return { type: 'sequence', items: joinLetters(regex.items) };
    case 'start':
    case 'end':
      return EMPTY;
  }
}

/** Single characters in a row become one text, by which choices are factored. */
function joinLetters(items: readonly Regex[]): Expression[] {
  const joined: Expression[] = [];
  let letters = '';
  const flush = (): void => {
    if (letters !== '') joined.push(text(letters));
    letters = '';
  };
  for (const item of items) {
    const [range] = item.type === 'characters' && item.ranges.length === 1 ? item.ranges : [];
    if (range?.[0] === range?.[1] && range !== undefined) {
      letters += String.fromCodePoint(range[0]);
    } else {
      flush();
      joined.push(toExpression(item));
    }
  }
  flush();
  return joined;
}
