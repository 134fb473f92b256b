import type { Automaton, AutomatonEdge } from '../expression';

/** An automaton without the states that lead to no end, or that nothing leads to. */
export function trim({ states }: Automaton): Automaton {
  const before: number[][] = states.map(() => []);
  states.forEach(({ edges }, i) => {
    for (const [, , to] of edges) before[to]!.push(i);
  });
  const ends = states.map(({ accepts }) => accepts);
  const open = states.flatMap(({ accepts }, i) => (accepts ? [i] : []));
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const other of before[state]!) {
      if (!ends[other]) {
        ends[other] = true;
        open.push(other);
      }
    }
  }
  const numbers = new Map<number, number>([[0, 0]]);
  const reached = [0];
  const result: { accepts: boolean; edges: AutomatonEdge[] }[] = [];
  for (let i = 0; i < reached.length; i++) {
    const { accepts, edges } = states[reached[i]!]!;
    const kept: AutomatonEdge[] = [];
    for (const [first, last, to] of edges) {
      if (!ends[to]) continue;
      let number = numbers.get(to);
      if (number === undefined) {
        number = reached.push(to) - 1;
        numbers.set(to, number);
      }
      // Neighbours that lead to one state are one edge.
      const previous = kept.at(-1);
      if (previous?.[2] === number && previous[1] + 1 === first) {
        kept[kept.length - 1] = [previous[0], last, number];
      } else kept.push([first, last, number]);
    }
    result.push({ accepts, edges: kept });
  }
  return { states: result };
}
