import { GrammarError } from '../../errors';
import {
  assertedForm,
  ASSERTIONS,
  formOfValue,
  namesAt,
  schemaAt,
  type Context,
} from './assertions';
import { Algebra, ANYTHING, NOTHING_AT_ALL } from './combine';
import type { Document } from './document';
import { Emptiness } from './emptiness';
import { exactlyOne } from './exclusive';
import { Refusal, type Form, type Node, type Union } from './form';
import { isList, isObject, type Json, type JsonObject } from './json';
import { UNSUPPORTED_KEYWORDS } from './keywords';
import { NONE, type Nodes } from './nodes';
import { ANY_OBJECT } from './objects';
import { Patterns } from './patterns';

export interface NormalizeOptions {
  readonly openObjects: boolean;
  readonly oneOf: 'exact' | 'any';
}

/** Deeper chains of `$ref` and `allOf` within one value are refused. */
const MOST_NESTED = 300;

/** Makes forms of nodes: of schemas, and of what they combine to. */
export class Normalizer {
  readonly #document: Document;
  readonly #nodes: Nodes;
  readonly #options: NormalizeOptions;
  readonly #algebra: Algebra;
  readonly #context: Context;
  readonly #emptiness: Emptiness;
  readonly #forms = new Map<Node, Form>();
  readonly #open = new Set<Node>();

  constructor(document: Document, nodes: Nodes, options: NormalizeOptions) {
    this.#document = document;
    this.#nodes = nodes;
    this.#options = options;
    this.#algebra = new Algebra(nodes);
    this.#emptiness = new Emptiness(nodes, (node) => this.form(node));
    const form = (node: Node): Form => this.form(node);
    this.#context = { document, nodes, patterns: new Patterns(document, nodes), form };
  }

  get emptiness(): Emptiness {
    return this.#emptiness;
  }

  form(node: Node): Form {
    const known = this.#forms.get(node);
    if (known !== undefined) return known;
    const parts = this.#nodes.parts(node);
    if (this.#open.has(node) || this.#open.size > MOST_NESTED) {
      const schema = parts.kind === 'schema' ? parts.schema : undefined;
      const message = 'The schema refers to itself without a property or item in between.';
      throw schema === undefined
        ? new GrammarError(message, { keyword: '$ref' })
        : this.#document.error(schema, '', message);
    }
    this.#open.add(node);
    try {
      const form = this.#make(node);
      this.#forms.set(node, form);
      return form;
    } finally {
      this.#open.delete(node);
    }
  }

  #make(node: Node): Form {
    const parts = this.#nodes.parts(node);
    switch (parts.kind) {
      case 'any':
        return ANYTHING;
      case 'none':
        return NOTHING_AT_ALL;
      case 'value':
        return formOfValue(this.#nodes, parts.value);
      case 'all':
        return this.#pruned(
          parts.of.map((part) => this.form(part)).reduce((a, b) => this.#algebra.both(a, b)),
        );
      case 'not': {
        const inner = this.#nodes.parts(parts.of);
        const pointer = inner.kind === 'schema' ? this.#document.pointerOf(inner.schema) : '';
        const refusal = new GrammarError(
          `What does not match the schema at "${pointer}" cannot be said.`,
          { pointer, keyword: 'not' },
        );
        return this.#pruned(this.#algebra.without(ANYTHING, this.form(parts.of), refusal));
      }
      case 'schema':
        return this.#pruned(this.#ofSchema(parts.schema));
    }
  }

  #pruned(form: Form): Form {
    return {
      ...form,
      objects: this.#emptiness.pruneObjects(form.objects),
      arrays: this.#emptiness.pruneArrays(form.arrays),
    };
  }

  #ofSchema(schema: JsonObject): Form {
    const algebra = this.#algebra;
    let form = ANYTHING;
    let asserted = false;
    for (const [keyword, value] of schema) {
      if (UNSUPPORTED_KEYWORDS.has(keyword))
        throw this.#document.error(schema, keyword, 'This keyword is not supported.');
      if (ASSERTIONS.has(keyword)) {
        if (!asserted) form = algebra.both(form, assertedForm(this.#context, schema));
        asserted = true;
      } else if (keyword === 'const') {
        form = algebra.both(form, formOfValue(this.#nodes, value));
      } else if (keyword === 'enum') {
        form = algebra.both(form, this.#enumForm(schema, value));
      } else if (keyword === '$ref') {
        form = algebra.both(form, this.form(this.#nodes.schema(this.#schemaFor(schema))));
      } else if (keyword === 'allOf') {
        for (const item of this.#branches(schema, keyword)) form = algebra.both(form, item);
      } else if (keyword === 'anyOf') {
        form = algebra.both(form, this.#union(this.#branches(schema, keyword)));
      }
    }
    // These look at what the others leave: the less that is, the more of them can be said.
    form = this.#conditional(schema, this.#negated(schema, form));
    form = this.#dependent(schema, form);
    if (schema.has('oneOf')) form = this.#oneOf(schema, form);
    return this.#unevaluated(schema, form);
  }

  #schemaFor(schema: JsonObject): Json {
    const found = this.#document.resolve(schema);
    if (typeof found === 'boolean' || isObject(found)) return found;
    throw this.#document.error(schema, '$ref', 'What it refers to is no schema.');
  }

  #branches(schema: JsonObject, keyword: string): Form[] {
    const list = schema.get(keyword);
    if (!isList(list) || list.length === 0)
      throw this.#document.error(schema, keyword, 'It must be a list of schemas.');
    return list.map((item) => this.form(schemaAt(this.#context, schema, keyword, item)));
  }

  #union(forms: readonly Form[]): Form {
    return forms.reduce((a, b) => this.#algebra.either(a, b), NOTHING_AT_ALL);
  }

  #enumForm(schema: JsonObject, values: Json): Form {
    if (!isList(values)) throw this.#document.error(schema, 'enum', 'It must be a list of values.');
    const strings = values.filter((value) => typeof value === 'string');
    const numbers = values.filter((value) => typeof value === 'number');
    const others = values.filter((value) => typeof value !== 'string' && typeof value !== 'number');
    const form = this.#union(others.map((value) => formOfValue(this.#nodes, value)));
    return {
      ...form,
      strings: strings.length === 0 ? [] : [{ values: new Set(strings) }],
      numbers: numbers.length === 0 ? [] : [{ values: [...new Set(numbers)] }],
    };
  }

  #negated(schema: JsonObject, form: Form): Form {
    const not = schema.get('not');
    if (not === undefined) return form;
    const inner = this.form(schemaAt(this.#context, schema, 'not', not));
    return this.#algebra.without(
      form,
      inner,
      this.#document.error(schema, 'not', 'A "not" of this kind is not supported.'),
    );
  }

  #conditional(schema: JsonObject, form: Form): Form {
    const condition = schema.get('if');
    if (condition === undefined || !(schema.has('then') || schema.has('else'))) return form;
    const algebra = this.#algebra;
    const part = (keyword: 'if' | 'then' | 'else'): Form => {
      const value = schema.get(keyword);
      return value === undefined
        ? ANYTHING
        : this.form(schemaAt(this.#context, schema, keyword, value));
    };
    const test = unnamed(part('if'));
    const refusal = this.#document.error(
      schema,
      'if',
      'A condition of this kind is not supported.',
    );
    const yes = algebra.both(algebra.both(form, test), part('then'));
    const no = algebra.both(algebra.without(form, test, refusal), part('else'));
    return this.#pruned(algebra.either(yes, no));
  }

  #dependent(schema: JsonObject, form: Form): Form {
    for (const keyword of ['dependentRequired', 'dependentSchemas', 'dependencies']) {
      const map = schema.get(keyword);
      if (map === undefined) continue;
      if (!isObject(map)) throw this.#document.error(schema, keyword, 'It must be an object.');
      for (const [key, value] of map) {
        const absent: Form = {
          ...ANYTHING,
          objects: [{ ...ANY_OBJECT, named: new Map([[key, NONE]]) }],
        };
        const required = new Set([key]);
        let then = ANYTHING;
        if (isList(value))
          for (const name of namesAt(this.#context, schema, keyword, value)) required.add(name);
        else then = this.form(schemaAt(this.#context, schema, keyword, value));
        const present = this.#algebra.both(
          { ...NOTHING_AT_ALL, objects: [{ ...ANY_OBJECT, required }] },
          then,
        );
        const objects = this.#algebra.both(form, this.#algebra.either(absent, present)).objects;
        form = { ...form, objects: this.#emptiness.pruneObjects(objects) };
      }
    }
    return form;
  }

  #oneOf(schema: JsonObject, form: Form): Form {
    const branches = this.#branches(schema, 'oneOf').map((branch) =>
      this.#pruned(this.#algebra.both(form, branch)),
    );
    if (this.#options.oneOf === 'any') return this.#union(branches);
    const refusal = this.#document.error(
      schema,
      'oneOf',
      'Alternatives that may match together are not supported; say "anyOf" if that does no harm.',
    );
    return exactlyOne(
      branches,
      this.#algebra,
      this.#emptiness,
      refusal,
      !this.#options.openObjects,
    );
  }

  /** With no keyword beside it that evaluates otherwise, it is `additionalProperties` or `items`. */
  #unevaluated(schema: JsonObject, form: Form): Form {
    const refuse = <Set>(keyword: string, union: Union<Set>): Union<Set> => {
      const value = schema.get(keyword);
      if (value === undefined || value === true || (isObject(value) && value.size === 0))
        return union;
      if (!(union instanceof Refusal) && union.length === 0) return union;
      return new Refusal(this.#document.error(schema, keyword, 'This keyword is not supported.'));
    };
    return {
      ...form,
      objects: refuse('unevaluatedProperties', form.objects),
      arrays: refuse('unevaluatedItems', form.arrays),
    };
  }
}

/** A condition does not say which properties there are. */
function unnamed(form: Form): Form {
  if (form.objects instanceof Refusal) return form;
  return {
    ...form,
    objects: form.objects.map((set) =>
      set.hasProperties ? { ...set, hasProperties: false } : set,
    ),
  };
}
