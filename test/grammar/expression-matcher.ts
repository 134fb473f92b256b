import type { Expression, RuleSet } from '../../lib/grammar/expression';

/**
 * Whether a text is in a language, by its definition: each expression leads from a place in the text
 * to those where it may end. Slow, and not native's way.
 */
export function matches({ rules }: RuleSet, text: string): boolean {
  const codes = codePoints(text);
  const known = new Map<number, readonly number[]>();

  const ends = (expression: Expression, at: number): readonly number[] => {
    switch (expression.type) {
      case 'nothing':
      case 'token':
        return [];
      case 'text': {
        const wanted = codePoints(expression.text);
        return wanted.every((code, i) => codes[at + i] === code) ? [at + wanted.length] : [];
      }
      case 'characters': {
        const code = codes[at];
        const found =
          code !== undefined &&
          expression.ranges.some(([first, last]) => first <= code && code <= last);
        return found ? [at + 1] : [];
      }
      case 'sequence': {
        let places: readonly number[] = [at];
        for (const item of expression.items)
          places = distinct(places.flatMap((p) => ends(item, p)));
        return places;
      }
      case 'choice':
        return distinct(expression.items.flatMap((item) => ends(item, at)));
      case 'repeat': {
        const found = new Set<number>();
        let places: readonly number[] = [at];
        for (let made = 0; places.length > 0 && made <= expression.most; made++) {
          if (made >= expression.least) {
            // What was reached with fewer goes on the same way, where there is no upper bound.
            if (expression.most === Infinity) places = places.filter((place) => !found.has(place));
            for (const place of places) found.add(place);
          }
          places = distinct(places.flatMap((place) => ends(expression.item, place)));
        }
        return [...found];
      }
      case 'automaton': {
        const { states } = expression.automaton;
        const found: number[] = [];
        let state = states[0];
        for (let place = at; state !== undefined; place++) {
          if (state.accepts) found.push(place);
          const code = codes[place];
          if (code === undefined) break;
          const edge = state.edges.find(([first, last]) => first <= code && code <= last);
          state = edge && states[edge[2]];
        }
        return found;
      }
      case 'rule': {
        const name = expression.rule * (codes.length + 1) + at;
        let found = known.get(name);
        if (found === undefined) {
          found = ends(rules[expression.rule]!.expression, at);
          known.set(name, found);
        }
        return found;
      }
    }
  };
  return ends(rules[0]!.expression, 0).includes(codes.length);
}

function codePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}

function distinct(places: readonly number[]): readonly number[] {
  return places.length < 2 ? places : [...new Set(places)];
}
