import { OutputError } from '../errors';
import { isStandardSchema, type Schema } from './schema';

/** A generation's text as JSON, checked by the schema's own library where it has one. */
export async function jsonOf(
  text: string,
  {
    whole,
    finishReason,
    schema,
  }: { whole: boolean; finishReason: string; schema: Schema | undefined },
): Promise<unknown> {
  const value = whole ? parsed(text) : undefined;
  if (value === undefined) {
    const how = whole ? 'is no JSON' : `is not whole: it ended by ${finishReason}`;
    throw new OutputError('INCOMPLETE_OUTPUT', `the text ${how}`, text);
  }
  if (!isStandardSchema(schema)) return value.json;
  const result = (await schema['~standard'].validate(value.json)) as {
    readonly value?: unknown;
    readonly issues?: readonly { readonly message: string }[];
  };
  if (result.issues === undefined) return result.value;
  const reasons = result.issues.map(({ message }) => message).join('; ');
  throw new OutputError('INVALID_OUTPUT', `the schema does not take the text: ${reasons}`, text);
}

function parsed(text: string): { readonly json: unknown } | undefined {
  try {
    return { json: JSON.parse(text) };
  } catch {
    return undefined;
  }
}
