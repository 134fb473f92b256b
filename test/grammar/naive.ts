/** Matchers that are slow and plainly right, for what the grammar's code is compared with. */
import type { Expression, RuleSet } from '../../lib/grammar/expression';
import { type Network, Op } from '../../lib/grammar/network';

/** Whether `text` is in the language: from sets of the places where each expression may end. */
export function matchesRules({ rules }: RuleSet, text: string): boolean {
  const characters = Array.from(text);
  const known = new Map<string, Set<number>>();

  const ends = (expression: Expression, at: number): Set<number> => {
    switch (expression.type) {
      case 'nothing':
      case 'token':
        return new Set();
      case 'text': {
        const wanted = Array.from(expression.text);
        const isThere = wanted.every((character, i) => characters[at + i] === character);
        return new Set(isThere ? [at + wanted.length] : []);
      }
      case 'characters': {
        const code = characters[at]?.codePointAt(0) ?? -1;
        const isThere = expression.ranges.some(([first, last]) => first <= code && code <= last);
        return new Set(isThere ? [at + 1] : []);
      }
      case 'sequence':
        return expression.items.reduce((places, item) => after(item, places), new Set([at]));
      case 'choice':
        return new Set(expression.items.flatMap((item) => [...ends(item, at)]));
      case 'repeat': {
        let places = new Set([at]);
        const all = new Set(expression.least === 0 ? [at] : []);
        // More rounds than this come to no other places: an empty one can be left out.
        const rounds = Math.min(expression.most, expression.least + characters.length + 1);
        for (let count = 1; count <= rounds && places.size > 0; count++) {
          places = after(expression.item, places);
          if (count >= expression.least) for (const place of places) all.add(place);
        }
        return expression.most < expression.least ? new Set() : all;
      }
      case 'rule': {
        const key = `${expression.rule} ${at}`;
        let found = known.get(key);
        if (found === undefined) {
          known.set(key, (found = new Set()));
          for (const place of ends(rules[expression.rule]!.expression, at)) found.add(place);
        }
        return found;
      }
      case 'automaton': {
        const found = new Set<number>();
        const { states } = expression.automaton;
        for (let state = 0, place = at; ; place++) {
          if (states[state]!.accepts) found.add(place);
          const code = characters[place]?.codePointAt(0) ?? -1;
          const edge = states[state]!.edges.find(([first, last]) => first <= code && code <= last);
          if (edge === undefined) return found;
          state = edge[2];
        }
      }
    }
  };
  const after = (item: Expression, places: Set<number>): Set<number> =>
    new Set([...places].flatMap((place) => [...ends(item, place)]));

  return ends(rules[0]!.expression, 0).has(characters.length);
}

/** A node, and the calls and repetitions it is in: `[node to come back to, rounds made]`. */
interface Place {
  readonly node: number;
  readonly stack: readonly (readonly [node: number, rounds: number])[];
}

/** Whether the network takes `text`: all places at once, byte by byte. */
export function matchesNetwork(network: Network, text: string): boolean {
  let places = closure(network, [{ node: 0, stack: [] }]);
  for (const byte of Buffer.from(text)) {
    const taken = places.filter(({ node }) => {
      const [op, first, last] = nodeAt(network, node);
      return op === Op.BYTES && first <= byte && byte <= last;
    });
    places = closure(
      network,
      taken.map(({ node, stack }) => ({ node: nodeAt(network, node)[3], stack })),
    );
  }
  return places.some(
    ({ node, stack }) => stack.length === 0 && nodeAt(network, node)[0] === Op.END,
  );
}

export function nodeAt({ nodes }: Network, node: number): [number, number, number, number] {
  const [op, a, b, next] = nodes.subarray(4 * node, 4 * node + 4) as unknown as number[];
  return [op!, a!, b!, next!];
}

function closure(network: Network, from: readonly Place[]): Place[] {
  const seen = new Map<string, Place>();
  const work = [...from];
  for (let place = work.pop(); place !== undefined; place = work.pop()) {
    const { node, stack } = place;
    const key = `${node} ${stack.join(' ')}`;
    if (seen.has(key)) continue;
    seen.set(key, place);
    if (seen.size > 100_000) throw new Error('the network goes around without taking a byte');
    const [op, a, b] = nodeAt(network, node);
    const enter = (repeat: number, rounds: number, outer: Place['stack']): void => {
      const [, body, least, goesOn] = nodeAt(network, repeat);
      const most = network.most[repeat]!;
      if (rounds >= least) work.push({ node: goesOn, stack: outer });
      if (most < 0 || rounds < most) work.push({ node: body, stack: [...outer, [repeat, rounds]] });
    };
    if (op === Op.SPLIT) {
      for (const target of network.edges.subarray(a, a + b)) work.push({ node: target, stack });
    } else if (op === Op.CALL) {
      work.push({ node: a, stack: [...stack, [node, 0]] });
    } else if (op === Op.REPEAT) {
      enter(node, 0, stack);
    } else if (op === Op.END && stack.length > 0) {
      const [caller, rounds] = stack.at(-1)!;
      const outer = stack.slice(0, -1);
      if (nodeAt(network, caller)[0] === Op.REPEAT) enter(caller, rounds + 1, outer);
      else work.push({ node: nodeAt(network, caller)[3], stack: outer });
    }
  }
  return [...seen.values()];
}
