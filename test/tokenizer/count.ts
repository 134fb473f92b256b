/** How often a method of a class is called while `work` runs. */
export function countCalls(prototype: object, method: string, work: () => void): number {
  return callsOf(prototype, method, work).length;
}

/** The first argument of each call. */
export function callsOf(prototype: object, method: string, work: () => void): unknown[] {
  const methods = prototype as Record<string, (...values: unknown[]) => unknown>;
  const original = methods[method]!;
  const calls: unknown[] = [];
  methods[method] = function (this: unknown, ...values) {
    calls[calls.length] = values[0];
    return original.apply(this, values);
  };
  try {
    work();
  } finally {
    methods[method] = original;
  }
  return calls;
}
