import type { RuleSet } from '../expression';
import { GrammarError } from '../../errors';
import { Document } from './document';
import { isObject } from './json';
import { Nodes } from './nodes';
import { Normalizer } from './normalize';
import { RuleWriter } from './write';

export interface SchemaOptions {
  /**
   * Whether objects may have properties that `properties` does not name, where the schema says
   * nothing of them: the standard's rule.
   * @default false
   */
  readonly openObjects?: boolean;
  /**
   * Lines with an indent of two spaces, and nothing else. Without it no lines, and at most one space
   * after `,` and `:`.
   * @default false
   */
  readonly pretty?: boolean;
  /**
   * `any` takes `oneOf` for `anyOf`; `exact` refuses one whose alternatives cannot be told apart.
   * @default 'exact'
   */
  readonly oneOf?: 'exact' | 'any';
}

/**
 * The JSON texts that match a schema: 2020-12, with `definitions`, lists in `items` and
 * `dependencies` as draft 7 has them. Properties come in the order in which the schema names them;
 * names like `12` come first, since JavaScript's objects put them there.
 * @throws GrammarError where the schema is wrong, or asks for what is not supported
 */
export function schemaRules(schema: unknown, options: SchemaOptions = {}): RuleSet {
  const document = new Document(schema);
  const { root } = document;
  if (typeof root !== 'boolean' && !isObject(root)) {
    throw new GrammarError('A schema must be an object or a boolean.', { keyword: '' });
  }
  const nodes = new Nodes();
  const openObjects = options.openObjects ?? false;
  const normalizer = new Normalizer(document, nodes, {
    openObjects,
    oneOf: options.oneOf ?? 'exact',
  });
  const writer = new RuleWriter(document, nodes, normalizer, {
    openObjects,
    pretty: options.pretty ?? false,
  });
  return writer.write(nodes.schema(root));
}
