/** Answers against OpenAI's published description of its API. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020';

/** Written as OpenAPI 3.0 has it: 3.1 knows types with null alone. */
function withNullTypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNullTypes);
  if (typeof value !== 'object' || value === null) return value;
  const { nullable, ...rest } = Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withNullTypes(inner)]),
  );
  return nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest;
}

const ajv = new Ajv({ strict: false, validateFormats: false });
const description = readFileSync(join(__dirname, '../fixtures/openai/openai.json'), 'utf8');
ajv.addSchema(withNullTypes(JSON.parse(description)) as object, 'openai');

/**
 * What the schema does not take about a value; nothing: it is of the schema.
 * @param name among the description's `components.schemas`
 */
export function schemaProblems(name: string, value: unknown): string[] {
  const validate = ajv.getSchema(`openai#/components/schemas/${name}`);
  if (validate === undefined) throw new Error(`OpenAI's description has no schema ${name}`);
  if (validate(value) === true) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message }) => `${instancePath} ${message ?? ''}`,
  );
}
