import { GrammarError } from '../../lib/errors';
import { ofTexts, toAutomaton } from '../../lib/grammar/automaton';
import {
  EMPTY,
  type Expression,
  NOTHING,
  type RuleSet,
  characters,
  choice,
  optional,
  repeat,
  sequence,
  text,
} from '../../lib/grammar/expression';
import { Op, buildNetwork } from '../../lib/grammar/network';
import { parseRegex } from '../../lib/grammar/regex';
import { regexRules } from '../../lib/grammar/regex-expression';
import { matchesNetwork, matchesRules } from './naive';
import { Random } from './random';

const ALPHABET = 'abcé€😀"';

function rulesOf(...expressions: readonly Expression[]): RuleSet {
  return { rules: expressions.map((expression, i) => ({ name: `r${i}`, expression })) };
}

function randomExpression(random: Random, depth: number, rules: number): Expression {
  const inner = (): Expression => randomExpression(random, depth - 1, rules);
  const several = (): Expression[] => Array.from({ length: random.below(5) }, inner);
  const regex = (): string => random.pick(['a*b?', '(ab|ac)+', '[^a]{2}', '', 'é|€', '😀*']);
  switch (depth === 0 ? random.below(5) : random.below(12)) {
    case 0:
    case 1:
      return text(random.text(ALPHABET, 3));
    case 2:
      return characters([97, 97 + random.below(3)], [0xe9, random.pick([0xe9, 0x20ac, 0x1f600])]);
    case 3:
      return random.pick([NOTHING, EMPTY, characters([0, 0x10ffff]), text('a'), text('b')]);
    case 4: {
      const automaton = toAutomaton(parseRegex(regex()), { anchored: true });
      return random.pick([
        { type: 'automaton', automaton },
        { type: 'rule', rule: random.below(rules) },
      ]);
    }
    case 5:
    case 6:
      return sequence(...several());
    case 7:
    case 8:
    case 9:
      return choice(...several());
    case 10:
      return repeat(inner(), random.below(3));
    default: {
      const least = random.below(4);
      return repeat(inner(), least, least + random.below(20));
    }
  }
}

test('a network takes what its expressions have, and nothing else', () => {
  const random = new Random(5);
  let compared = 0;
  let accepted = 0;
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const count = 1 + random.below(3);
    const depth = random.below(4);
    const expressions = Array.from({ length: count }, () => randomExpression(random, depth, count));
    const rules = rulesOf(...expressions);
    let network;
    try {
      network = buildNetwork(rules);
    } catch (error) {
      expect(error).toMatchObject({ message: expect.stringContaining('left recursion') as string });
      refused++;
      continue;
    }
    for (let i = 0; i < 12; i++) {
      const sample = random.text(random.pick(['ab', 'a', ALPHABET]), 7);
      const expected = matchesRules(rules, sample);
      const found = matchesNetwork(network, sample);
      if (found !== expected) expect([rules, sample, found]).toEqual([rules, sample, expected]);
      compared++;
      accepted += expected ? 1 : 0;
    }
  }
  expect(compared).toBeGreaterThan(20_000);
  expect(accepted).toBeGreaterThan(3000);
  expect(refused).toBeLessThan(600);
});

test('every character goes through its own bytes alone', () => {
  const random = new Random(6);
  const edges = [
    0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000,
    0x10ffff,
  ];
  for (let round = 0; round < 300; round++) {
    const point = (): number =>
      random.pick([...edges, random.below(0x110000), random.below(0x3000)]);
    const ranges = Array.from({ length: 1 + random.below(4) }, () => {
      const [first, last] = [point(), point()].sort((a, b) => a - b);
      return [first!, last!] as const;
    });
    const rules = rulesOf(characters(...ranges));
    const network = buildNetwork(rules);
    for (const code of [
      ...edges,
      ...ranges.flatMap(([first, last]) => [first - 1, first, last, last + 1]),
    ]) {
      if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) continue;
      const sample = String.fromCodePoint(code);
      expect([ranges, code, matchesNetwork(network, sample)]).toEqual([
        ranges,
        code,
        matchesRules(rules, sample),
      ]);
    }
  }
});

test('many texts share their beginnings: one way on for each byte', () => {
  const random = new Random(7);
  const list = Array.from({ length: 5000 }, (_, i) => `${random.text('abcdef', 12)}${i}`);
  const { nodes, edges } = buildNetwork(rulesOf(choice(...list.map(text))));
  for (let node = 0; node < nodes.length / 4; node++) {
    if (nodes[4 * node] !== Op.SPLIT) continue;
    const targets = edges.subarray(
      nodes[4 * node + 1],
      nodes[4 * node + 1]! + nodes[4 * node + 2]!,
    );
    const bytes = [...targets]
      .filter((target) => nodes[4 * target] === Op.BYTES)
      .map((target) => nodes[4 * target + 1]);
    expect(new Set(bytes).size).toBe(bytes.length);
  }
});

test('large counts are counted, small ones and loops are not', () => {
  const letters = characters([97, 122]);
  expect(buildNetwork(rulesOf(repeat(letters, 0, 100_000))).nodes.length).toBeLessThan(40);
  expect(buildNetwork(regexRules('[a-z]{1,100000}')).nodes.length).toBeLessThan(40);
  expect(buildNetwork(regexRules('^(?:[a-z]{1,100000})$')).nodes.length).toBeLessThan(40);
  for (const rules of [
    rulesOf(repeat(letters, 2)),
    rulesOf(repeat(letters, 1, 3)),
    rulesOf(optional(letters)),
  ]) {
    const { nodes } = buildNetwork(rules);
    expect([...nodes].some((value, i) => i % 4 === 0 && value === Op.REPEAT)).toBe(false);
  }
});

test('left recursion is refused by the name of the rule, also behind what may be empty', () => {
  const self: Expression = { type: 'rule', rule: 0 };
  for (const first of [EMPTY, repeat(text('x'), 0), optional(text('y')), text('')]) {
    const rules = rulesOf(choice(text('a'), sequence(first, self, text('b'))));
    expect(() => buildNetwork(rules)).toThrow(/rule r0 begins with itself/);
  }
  expect(() => buildNetwork(rulesOf(choice(text('a'), sequence(text('x'), self))))).not.toThrow();
});

test('what never ends is as if it were not there', () => {
  const endless: Expression = sequence(text('x'), { type: 'rule', rule: 1 });
  const network = buildNetwork(rulesOf(choice(text('a'), { type: 'rule', rule: 1 }), endless));
  expect(matchesNetwork(network, 'a')).toBe(true);
  expect(Array.from(network.nodes).includes('x'.charCodeAt(0))).toBe(false);
});

test('what is too deep, too large or has no UTF-8 is refused', () => {
  let deep: Expression = text('a');
  for (let i = 0; i < 100_000; i++) deep = sequence(deep, text('b'));
  let wide: Expression = text('abcdefgh');
  for (let i = 0; i < 30; i++) wide = choice(sequence(wide, text('a')), sequence(wide, text('b')));
  for (const expression of [deep, wide, text('\ud800'), { type: 'rule', rule: 7 } as const]) {
    expect(() => buildNetwork(rulesOf(expression))).toThrow(GrammarError);
  }
});

test('a list of texts as an automaton is the same network language', () => {
  const automaton = ofTexts(['', 'ab', 'abc', 'é']);
  const network = buildNetwork(rulesOf(repeat({ type: 'automaton', automaton }, 30, 40)));
  expect(
    ['', 'abab', 'abcéab', 'a', 'abcc'].map((sample) => matchesNetwork(network, sample)),
  ).toEqual([true, true, true, false, false]);
});
