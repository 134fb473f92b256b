import { inspect, type InspectOptions } from 'node:util';

/**
 * What console.log() and loggers show of a class's objects. Defined here and not as a method, so
 * that the types stay free of Node's.
 */
export function describeWith<T extends object>(
  constructor: { readonly prototype: T },
  name: string,
  facts: (object: T) => object,
): void {
  Object.defineProperty(constructor.prototype, inspect.custom, {
    value(this: T, depth: number, options: InspectOptions): string {
      if (depth < 0) return `[${name}]`;
      return `${name} ${inspect(facts(this), { ...options, depth })}`;
    },
  });
}
