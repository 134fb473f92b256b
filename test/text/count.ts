/** How often a method of a class is called while `work` runs. */
export function countCalls(prototype: object, method: string, work: () => void): number {
  const methods = prototype as Record<string, (...values: unknown[]) => unknown>;
  const original = methods[method]!;
  let calls = 0;
  methods[method] = function (this: unknown, ...values) {
    calls++;
    return original.apply(this, values);
  };
  try {
    work();
  } finally {
    methods[method] = original;
  }
  return calls;
}
