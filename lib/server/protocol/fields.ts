/**
 * Fields of requests: what each is, and what becomes of it. The schemas that requests are checked
 * by, and the table in docs/serving.md, are both made of these.
 */
import { ApiError, badField } from './errors';

export type FieldStatus =
  /** It does what its description says. */
  | 'honoured'
  /** Values that change something are refused. */
  | 'refused'
  /** It is taken, and changes nothing. */
  | 'inert';

export interface Field {
  readonly status: FieldStatus;
  readonly schema: object;
  readonly note: string;
  /** Of a refused field: values that ask for what happens anyway. */
  readonly harmless?: readonly unknown[];
}

export type Fields = Readonly<Record<string, Field>>;

export function honoured(note: string, schema: object): Field {
  return { status: 'honoured', schema, note };
}

export function inert(note: string, schema: object = {}): Field {
  return { status: 'inert', schema, note };
}

export function refused(note: string, ...harmless: unknown[]): Field {
  return { status: 'refused', schema: {}, note, harmless };
}

export const text = { type: 'string' };
export const flag = { type: 'boolean' };
export const integer = (minimum: number, maximum: number): object => ({
  type: 'integer',
  minimum,
  maximum,
});
export const number = (minimum: number, maximum: number): object => ({
  type: 'number',
  minimum,
  maximum,
});

/** The JSON schema of a body. */
export function bodySchema(fields: Fields, required: readonly string[], lenient: boolean): object {
  const properties = Object.fromEntries(
    Object.entries(fields).map(([name, { schema, note }]) => [
      name,
      { ...schema, description: note },
    ]),
  );
  return { type: 'object', properties, required, additionalProperties: lenient };
}

/** Of arrays and objects in each other: what JSON.stringify() and schemas' compilers can follow. */
const MOST_LEVELS = 256;

/** @throws ApiError for a body that is nested deeper than anything that is meant so */
export function checkDepth(body: unknown): void {
  let level: readonly unknown[] = [body];
  for (let depth = 0; level.length > 0; ++depth) {
    if (depth > MOST_LEVELS) {
      const message = `the body is nested more than ${MOST_LEVELS} levels deep`;
      throw new ApiError(400, message, { code: 'invalid_json' });
    }
    level = level.flatMap((value): readonly unknown[] =>
      typeof value === 'object' && value !== null ? Object.values(value) : [],
    );
  }
}

/** Null stands for a field that is not there: clients write either. */
export function withoutNulls(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/** @throws ApiError for a field that would be ignored where the client counts on it */
export function refuseFields(fields: Fields, body: object): void {
  for (const [name, value] of Object.entries(body)) {
    if (!Object.hasOwn(fields, name)) continue;
    const { status, note, harmless = [] } = fields[name]!;
    if (status !== 'refused' || isHarmless(value, harmless)) continue;
    throw badField(name, `${name} is not supported: ${note}`, 'unsupported_parameter');
  }
}

function isHarmless(value: unknown, harmless: readonly unknown[]): boolean {
  const json = JSON.stringify(value);
  return harmless.some((other) => JSON.stringify(other) === json);
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** The first of a validator's errors, as the client sees it. */
export function schemaError({ keyword, instancePath, message, params }: SchemaError): ApiError {
  const path = instancePath
    .slice(1)
    .split('/')
    .filter((part) => part !== '')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const at = path.reduce(
    (name, part) => (/^\d+$/.test(part) ? `${name}[${part}]` : `${name}${name && '.'}${part}`),
    '',
  );
  if (keyword === 'additionalProperties') {
    const name = `${at}${at && '.'}${String(params['additionalProperty'])}`;
    const advice = 'leave it out, or run the server with --lenient';
    return badField(name, `${name} is no field of this request: ${advice}`, 'unknown_parameter');
  }
  if (keyword === 'required') {
    const name = `${at}${at && '.'}${String(params['missingProperty'])}`;
    return badField(name, `${name} is missing`, 'missing_required_parameter');
  }
  const allowed = params['allowedValues'];
  const values = Array.isArray(allowed) ? `: ${allowed.map(String).join(', ')}` : '';
  if (at === '') return new ApiError(400, `the body ${message ?? 'is wrong'}`);
  return badField(at, `${at} ${message ?? 'is wrong'}${values}`);
}
