/** Tools as they are offered, called and answered, in the forms Mistral's models were trained on. */
import { MessagesError } from '../errors';
import type { Call } from './messages';
import { pythonDump, pythonForm, quote } from './python-json';

/** As Python's `$`, which one newline may follow. */
const NAME = /^[a-zA-Z0-9_-]{1,64}\n?$/;
const CALL_ID = /^[a-zA-Z0-9]{9}\n?$/;

export function isCallId(id: string): boolean {
  return CALL_ID.test(id);
}

export function isFunctionName(name: string): boolean {
  return NAME.test(name);
}

/** A tool that was checked. */
export interface ReadTool {
  readonly name: string;
  /** `{"type": "function", "function": {...}}` in Python's form. */
  readonly json: string;
}

/** @throws MessagesError */
export function readTools(tools: unknown): ReadTool[] {
  if (tools === undefined || tools === null) return [];
  if (!Array.isArray(tools)) {
    throw new MessagesError('ValidationError', 'tools must be an array of tools');
  }
  return tools.map(readTool);
}

function readTool(tool: unknown, index: number): ReadTool {
  const { function: called } = Object(tool) as Record<string, unknown>;
  const { name, description, parameters } = Object(called) as Record<string, unknown>;
  const fail = (kind: string, problem: string): MessagesError =>
    new MessagesError(kind, `tools[${String(index)}]: ${problem}`);
  if (typeof name !== 'string') throw fail('ValidationError', 'function.name must be a string');
  if (!isFunctionName(name)) throw fail('InvalidToolException', NAME_RULE);
  if (description !== undefined && description !== null && typeof description !== 'string') {
    throw fail('ValidationError', 'function.description must be a string');
  }
  const schemaProblem = problemOfSchema(parameters ?? {}, 0);
  if (schemaProblem !== undefined) throw fail('InvalidToolSchemaException', schemaProblem);
  const dumped = pythonDump(parameters ?? {});
  if (dumped === undefined) {
    throw fail('InvalidToolSchemaException', 'function.parameters must be JSON');
  }
  const json =
    `{"type": "function", "function": {"name": ${quote(name)}, ` +
    `"description": ${quote(description ?? '')}, "parameters": ${dumped}}}`;
  return { name, json };
}

export const NAME_RULE =
  'the name of a function must be 1 to 64 letters, digits, underscores or dashes';

const TYPES: readonly unknown[] = [
  'string',
  'number',
  'integer',
  'boolean',
  'array',
  'object',
  'null',
];

/** What is no JSON Schema, so far as it would be noticed at once; undefined: nothing. */
function problemOfSchema(schema: unknown, depth: number): string | undefined {
  if (depth > 100) return 'the parameters are nested too deeply';
  if (typeof schema === 'boolean' && depth > 0) return undefined;
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    return 'the parameters must be a JSON Schema, an object';
  }
  const { type, properties, items, required } = schema as Record<string, unknown>;
  const types: unknown[] = type === undefined ? [] : Array.isArray(type) ? type : [type];
  const unknownType = types.find((one) => !TYPES.includes(one));
  if (unknownType !== undefined) return `${JSON.stringify(unknownType)} is no type of JSON Schema`;
  if (required !== undefined && !Array.isArray(required)) return 'required must be an array';
  if (properties !== undefined) {
    if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) {
      return 'properties must be an object';
    }
    for (const property of Object.values(properties)) {
      const problem = problemOfSchema(property, depth + 1);
      if (problem !== undefined) return problem;
    }
  }
  if (items === undefined) return undefined;
  const schemas: unknown[] = Array.isArray(items) ? items : [items];
  return schemas.map((item) => problemOfSchema(item, depth + 1)).find(Boolean);
}

/** The arguments of a call in Python's form: parsed where they are JSON, else as a string. */
export function callArguments(call: Call, index: number): string {
  if ((call.arguments ?? '') === '') return '{}';
  if (typeof call.arguments === 'string') return valueOf(call.arguments);
  const dumped = pythonDump(call.arguments);
  if (dumped !== undefined) return dumped;
  throw new MessagesError('ValidationError', 'the arguments of a call must be JSON', index);
}

/** A tool's answer as a value of JSON, if it is one, else as a string. */
export function valueOf(text: string): string {
  return pythonForm(text) ?? quote(text);
}
