/** Grammars of answers that call tools: each name is in the set, its arguments fit its schema. */
import { GrammarError, MessagesError } from '../errors';
import {
  characters,
  choice,
  EMPTY,
  optional,
  repeat,
  sequence,
  text,
  type Expression,
  type Rule,
  type RuleSet,
} from '../grammar/expression';
import { schemaRules } from '../grammar/json-schema/schema-rules';
import { ANY, invert } from '../grammar/ranges';
import type { Tool } from './messages';
import { quote } from './python-json';

export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string };

/** How the answer's format writes calls. */
export type CallSyntax =
  /** V2 and V3: the control token, then one list. */
  | { readonly kind: 'mistral'; readonly token: number; readonly hasIds: boolean }
  /** Hermes: each in tags, as text. */
  | { readonly kind: 'hermes' };

const ANY_TEXT: Expression = repeat(characters(...ANY), 0);
const ID = repeat(characters([0x30, 0x39], [0x41, 0x5a], [0x61, 0x7a]), 9, 9);

/**
 * @param parallel whether more than one call is allowed
 * @param answer what an answer without calls may be
 * @throws GrammarError, MessagesError
 */
export function callRules(
  syntax: CallSyntax,
  tools: readonly Tool[],
  toolChoice: ToolChoice,
  parallel: boolean,
  answer?: RuleSet,
): RuleSet {
  const offered = chosen(tools, toolChoice);
  const rules: Rule[] = [{ name: 'answer', expression: EMPTY }];
  const calls = offered.map(({ function: { name, parameters = {} } }) => {
    const parts = inSchemaOf(name, () => schemaRules(parameters));
    return { name, values: embed(rules, parts) };
  });
  const call = choice(...calls.map(({ name, values }) => callOf(syntax, name, values)));
  const list =
    syntax.kind === 'mistral' ? mistralList(syntax, call, parallel) : hermesList(call, parallel);
  const free = answer === undefined ? freeText(syntax) : embed(rules, answer);
  const expression = toolChoice === 'auto' ? choice(free, list) : list;
  rules[0] = { name: 'answer', expression };
  return { rules };
}

function chosen(tools: readonly Tool[], toolChoice: ToolChoice): readonly Tool[] {
  if (typeof toolChoice === 'string') return tools;
  const found = tools.filter(({ function: { name } }) => name === toolChoice.name);
  if (found.length > 0) return found;
  throw new MessagesError(
    'InvalidToolException',
    `toolChoice: there is no tool ${toolChoice.name}`,
  );
}

function inSchemaOf(name: string, compile: () => RuleSet): RuleSet {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    const { pointer, keyword } = error;
    throw new GrammarError(`the parameters of the tool ${name}: ${error.message}`, {
      pointer,
      keyword,
    });
  }
}

/** Appends rules to others; gives the call of the first of them. */
function embed(into: Rule[], { rules }: RuleSet): Expression {
  const offset = into.length;
  for (const { name, expression } of rules) {
    into.push({ name, expression: shifted(expression, offset) });
  }
  return { type: 'rule', rule: offset };
}

function shifted(expression: Expression, offset: number): Expression {
  switch (expression.type) {
    case 'rule':
      return { type: 'rule', rule: expression.rule + offset };
    case 'sequence':
    case 'choice':
      return { ...expression, items: expression.items.map((item) => shifted(item, offset)) };
    case 'repeat':
      return { ...expression, item: shifted(expression.item, offset) };
    default:
      return expression;
  }
}

function callOf(syntax: CallSyntax, name: string, values: Expression): Expression {
  const named = text(`"name": ${quote(name)}`);
  const given = sequence(text('"arguments": '), values);
  if (syntax.kind === 'mistral') {
    const id = optional(sequence(text(', "id": "'), ID, text('"')));
    return sequence(text('{'), named, text(', '), given, syntax.hasIds ? id : EMPTY, text('}'));
  }
  return sequence(
    text('{'),
    choice(sequence(named, text(', '), given), sequence(given, text(', '), named)),
    text('}'),
  );
}

function mistralList(
  { token }: { readonly token: number },
  call: Expression,
  parallel: boolean,
): Expression {
  const more = parallel ? repeat(sequence(text(', '), call), 0) : EMPTY;
  return sequence({ type: 'token', id: token }, text('['), call, more, text(']'));
}

export const HERMES_START = '<tool_call>';

function hermesList(call: Expression, parallel: boolean): Expression {
  const one = sequence(text(`${HERMES_START}\n`), call, text('\n</tool_call>'));
  return parallel ? sequence(one, repeat(sequence(text('\n'), one), 0)) : one;
}

/** Any text, but for one that begins as calls do. */
function freeText(syntax: CallSyntax): Expression {
  return syntax.kind === 'mistral' ? ANY_TEXT : notBeginningWith(HERMES_START);
}

/** @example of `<t`: nothing, `<`, or what differs from it at one of its characters, and all after */
function notBeginningWith(start: string): Expression {
  const items: Expression[] = [];
  for (let length = 0; length < start.length; length++) {
    const code = start.charCodeAt(length);
    const other = characters(...invert([[code, code]]));
    items.push(sequence(text(start.slice(0, length)), optional(sequence(other, ANY_TEXT))));
  }
  return choice(...items);
}
