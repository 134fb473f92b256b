type Schema = Record<string, unknown>;

/**
 * A value with the properties of its objects in the order in which its schema names them, and others
 * after them: the order in which the grammar has them. References are followed by JSON pointers.
 */
export function inSchemaOrder(value: unknown, schema: unknown): unknown {
  return ordered(value, [schema], schema);
}

function ordered(value: unknown, schemas: readonly unknown[], root: unknown): unknown {
  const all = withApplied(schemas, root);
  if (Array.isArray(value)) {
    return value.map((item, i) =>
      ordered(
        item,
        all.flatMap((schema) => ofItem(schema, i)),
        root,
      ),
    );
  }
  if (typeof value !== 'object' || value === null) return value;
  const object = value as Record<string, unknown>;
  const names = new Set<string>();
  for (const schema of all)
    for (const key of Object.keys(record(schema['properties']))) names.add(key);
  for (const schema of all) {
    const required = schema['required'];
    if (Array.isArray(required)) for (const key of required) names.add(String(key));
  }
  const keys = [...names].filter((key) => Object.hasOwn(object, key));
  for (const key of Object.keys(object)) if (!names.has(key)) keys.push(key);
  return Object.fromEntries(
    keys.map((key) => [
      key,
      ordered(
        object[key],
        all.flatMap((schema) => ofKey(schema, key)),
        root,
      ),
    ]),
  );
}

/** Schemas with those that apply to the same value. */
function withApplied(schemas: readonly unknown[], root: unknown): Schema[] {
  const found = new Set<Schema>();
  const add = (schema: unknown): void => {
    if (typeof schema !== 'object' || schema === null || found.has(schema as Schema)) return;
    const object = schema as Schema;
    found.add(object);
    if (typeof object['$ref'] === 'string') add(resolve(object['$ref'], root));
    for (const keyword of ['allOf', 'anyOf', 'oneOf']) {
      const list = object[keyword];
      if (Array.isArray(list)) list.forEach(add);
    }
    for (const keyword of ['if', 'then', 'else']) add(object[keyword]);
    for (const keyword of ['dependentSchemas', 'dependencies']) {
      for (const item of Object.values(record(object[keyword])))
        if (!Array.isArray(item)) add(item);
    }
  };
  schemas.forEach(add);
  return [...found];
}

function ofKey(schema: Schema, key: string): unknown[] {
  const properties = record(schema['properties']);
  if (Object.hasOwn(properties, key)) return [properties[key]];
  const patterns = Object.entries(record(schema['patternProperties']));
  const matching = patterns.filter(([source]) => new RegExp(source, 'u').test(key));
  return matching.length > 0 ? matching.map(([, item]) => item) : [schema['additionalProperties']];
}

function ofItem(schema: Schema, i: number): unknown[] {
  const { items, prefixItems, additionalItems } = schema;
  const prefix = Array.isArray(items) ? items : prefixItems;
  if (Array.isArray(prefix) && i < prefix.length) return [prefix[i]];
  return [Array.isArray(items) ? additionalItems : items];
}

function resolve(reference: string, root: unknown): unknown {
  if (!reference.startsWith('#')) return undefined;
  let at: unknown = root;
  for (const part of decodeURIComponent(reference).split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Schema)[part.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return at;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
