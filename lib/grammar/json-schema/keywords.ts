/** Keywords whose value is a schema. */
export const SCHEMA_KEYWORDS = [
  'additionalItems',
  'additionalProperties',
  'contains',
  'contentSchema',
  'else',
  'if',
  'items',
  'not',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
] as const;

/** Keywords whose value is a list of schemas; `items` is one in draft 7. */
export const SCHEMA_LIST_KEYWORDS = ['allOf', 'anyOf', 'items', 'oneOf', 'prefixItems'] as const;

/** Keywords whose value has a schema under each name. */
export const SCHEMA_MAP_KEYWORDS = [
  '$defs',
  'definitions',
  'dependencies',
  'dependentSchemas',
  'patternProperties',
  'properties',
] as const;

/**
 * Words that assert something in some vocabulary, and that are not supported. Words that are in no
 * vocabulary are annotations, as the standard has it.
 */
export const UNSUPPORTED_KEYWORDS: ReadonlySet<string> = new Set([
  '$dynamicRef',
  '$recursiveRef',
  // Draft 3.
  'disallow',
  'divisibleBy',
  'extends',
  // Of ajv and of its packages.
  '$data',
  '$merge',
  '$patch',
  'discriminator',
  'formatExclusiveMaximum',
  'formatExclusiveMinimum',
  'formatMaximum',
  'formatMinimum',
  'instanceof',
  'typeof',
  'uniqueItemProperties',
  // JSON Type Definition.
  'optionalProperties',
]);
