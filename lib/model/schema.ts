/** Schemas as callers have them, and the types that they describe. */

/** JSON Schema, as a value: `as const` gives results its type. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

/**
 * A schema of a library that speaks the Standard JSON Schema interface (Zod 4.2 and later, ArkType,
 * Valibot by its adapter): the grammar is made of what it gives, results are validated by it.
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => unknown;
    readonly jsonSchema?: { readonly input: (options: { target: string }) => unknown };
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/** What `json` takes. A TypeBox schema is a JSON Schema with the type `static`. */
export type Schema = JsonSchema | StandardSchema;

/** The type of the values of a schema; unknown where there is none. */
export type Infer<S> = [S] extends [never] ? unknown : OfSchema<S>;

type OfSchema<S> = S extends { readonly '~standard': { readonly types?: infer T } }
  ? NonNullable<T> extends { readonly output: infer Output }
    ? Output
    : unknown
  : S extends { static: infer Static }
    ? Static
    : FromJson<S>;

interface TypeNames {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  null: null;
}

type FromJson<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly anyOf: readonly (infer A)[] }
      ? FromJson<A>
      : S extends { readonly oneOf: readonly (infer O)[] }
        ? FromJson<O>
        : S extends { readonly type: infer Type }
          ? FromType<S, Type extends readonly (infer T)[] ? T : Type>
          : unknown;

type FromType<S, Type> = Type extends keyof TypeNames
  ? TypeNames[Type]
  : Type extends 'array'
    ? S extends { readonly items: infer Items }
      ? FromJson<Items>[]
      : unknown[]
    : Type extends 'object'
      ? FromProperties<S>
      : unknown;

type FromProperties<S> = S extends { readonly properties: infer P }
  ? Simplify<
      { -readonly [K in keyof P as K extends Required<S> ? K : never]: FromJson<P[K]> } & {
        -readonly [K in keyof P as K extends Required<S> ? never : K]?: FromJson<P[K]>;
      }
    >
  : S extends { readonly additionalProperties: infer A }
    ? Record<string, FromJson<A>>
    : Record<string, unknown>;

type Required<S> = S extends { readonly required: readonly (infer K)[] } ? K : never;
type Simplify<T> = { [K in keyof T]: T[K] };

export function isStandardSchema(schema: unknown): schema is StandardSchema {
  // ArkType's schemas are functions.
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null) return false;
  const { '~standard': standard } = schema as { '~standard'?: unknown };
  return typeof Object(standard).validate === 'function'; // eslint-disable-line @typescript-eslint/no-unsafe-member-access
}
