import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GrammarError } from '../../lib/errors';
import { choiceRules } from '../../lib/grammar/choice';
import { gbnfRules } from '../../lib/grammar/gbnf';
import { buildNetwork } from '../../lib/grammar/network';
import { compileGrammar } from '../../lib/model/grammar';
import { describeWithReference } from '../reference';
import { matchesNetwork, matchesRules } from './naive';

function accepts(grammar: string, sample: string): boolean {
  const rules = gbnfRules(grammar);
  const found = matchesNetwork(buildNetwork(rules), sample);
  expect([grammar, sample, matchesRules(rules, sample)]).toEqual([grammar, sample, found]);
  const native = compileGrammar({ gbnf: grammar }).accepts(sample);
  expect([grammar, sample, native]).toEqual([grammar, sample, found]);
  return found;
}

interface LlamaCase {
  readonly name: string;
  readonly grammar: string;
  readonly accept: readonly string[];
  readonly reject: readonly string[];
}

describeWithReference("llama.cpp's strings", (directory) => {
  const file = join(directory, '../structured/gbnf/llama-cpp-grammars.json');
  if (!existsSync(file)) {
    process.stderr.write("skipped: llama.cpp's strings: no structured/gbnf beside the reference\n");
    test.skip('needs structured/gbnf', () => undefined);
    return;
  }
  const cases = JSON.parse(readFileSync(file, 'utf8')) as LlamaCase[];
  test('all 118 are judged as there', () => {
    let judged = 0;
    for (const { name, grammar, accept, reject } of cases) {
      const samples = [
        ...accept.map((s) => [s, true] as const),
        ...reject.map((s) => [s, false] as const),
      ];
      for (const [sample, expected] of samples) {
        expect([name, sample, accepts(grammar, sample)]).toEqual([name, sample, expected]);
        judged++;
      }
    }
    expect(judged).toBe(118);
  });
});

test.each([
  ['root ::= "a" # a comment\n# another\n\n', ['a'], ['', 'a ']],
  ['root ::= (\n  "a" |\n\n "b" # b\n) c\nc::="c"', ['ac', 'bc'], ['c', 'a']],
  ['root ::= "a"\n  | "b"\n  | "c"\n', ['a', 'b', 'c'], ['ab']],
  ['root ::= [^a-c\\]\\n]', ['d', '-', 'é', '😀'], ['a', ']', '\n', 'dd']],
  ['root ::= [a-]', ['a', '-'], ['b']],
  ['root ::= "\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\""', ['Aé😀\t\r\n\\"'], ['A']],
  ['root ::= .{2}', ['\n😀', 'ab'], ['a', 'abc']],
  ['root ::= "ab"{ 2 , 3 }', ['abab', 'ababab'], ['ab', 'abb', 'abababab']],
  ['root ::= a b | \r\n ""\r\na ::= "a"*\r\nb ::= "b"+?', ['', 'a', 'b', 'abb'], ['ba']],
  ['root ::= "(" root ")" | "x"', ['x', '((x))'], ['((x)', ')x(']],
  ['other ::= "b"\nroot ::= "a" other', ['ab'], ['b']],
])('%j', (grammar, wanted, unwanted) => {
  for (const sample of wanted) expect([sample, accepts(grammar, sample)]).toEqual([sample, true]);
  for (const sample of unwanted)
    expect([sample, accepts(grammar, sample)]).toEqual([sample, false]);
});

test('a token by its id is one', () => {
  expect(gbnfRules('root ::= <[7]>').rules[0]!.expression).toEqual({ type: 'token', id: 7 });
});

test.each([
  ['', 'root', /has no rule root/],
  ['a ::= "b"', 'root', /has no rule root/],
  ['root ::= a b\na ::= "x"', 'b', /line 1, column 12: "b" is not defined/],
  ['root ::= "a"\nroot ::= "b"', 'root', /line 2, column 1: "root" is defined twice/],
  ['root ::= "a', '"', /line 1, column 10: """ is not closed/],
  ['root ::=\n [a', '[', /line 2, column 2: "\[" is not closed/],
  ['root ::= ("a"', '(', /line 1, column 10: "\(" has no "\)"/],
  ['root ::= "a")', ')', /line 1, column 13: "\)" where the end of a line is wanted/],
  ['root ::= [b-a]', '[', /column 11: "\[" has a range that goes down/],
  ['root ::= "\\q"', '\\q', /is no escape/],
  ['root ::= "\\uD800"', '\\u', /is no character/],
  ['root ::= "\\x4"', '\\x', /has not 2 digits/],
  ['root ::= "a"{2,1}', '{}', /counts down/],
  ['root ::= "a"{x}', 'x', /"x" where a number is wanted/],
  ['root = "a"', '=', /"=" where "::=" is wanted/],
  ['root ::= <think>', '<', /only ids are supported/],
  ['root ::= * "a"', '*', /"\*" where the end of a line is wanted/],
  [`root ::= ${'('.repeat(1e5)}`, '(', /nested more than 200 deep/],
  [`root ::= "a"${'*'.repeat(1e5)}`, '*', /too many/],
])('a wrong grammar is refused by place and name: case %#', (grammar, keyword, message) => {
  let error: unknown;
  try {
    gbnfRules(grammar);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(GrammarError);
  expect(error).toMatchObject({ keyword, message: expect.stringMatching(message) as string });
});

test('left recursion is refused by the name of the rule', () => {
  const rules = gbnfRules('root ::= expr\nexpr ::= opt expr "+" | "1"\nopt ::= "-"?');
  expect(() => buildNetwork(rules)).toThrow(/rule expr begins with itself/);
});

test('a choice is any of its texts', () => {
  const network = buildNetwork(choiceRules(['yes', 'no', 'not', 'é']));
  const samples = ['yes', 'no', 'not', 'é', 'n', 'yesno', ''];
  expect(samples.filter((sample) => matchesNetwork(network, sample))).toEqual([
    'yes',
    'no',
    'not',
    'é',
  ]);
  expect(() => choiceRules([])).toThrow(GrammarError);
});
