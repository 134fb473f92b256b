/** Server-sent events of a whole stream. */

export interface SentEvent {
  readonly event: string | undefined;
  readonly data: string;
}

/** Comments are left out. */
export function sentEvents(body: string): SentEvent[] {
  expect(body.endsWith('\n\n')).toBe(true);
  return body
    .split('\n\n')
    .filter((block) => block !== '' && !block.startsWith(':'))
    .map((block) => {
      const { event, data } = /^(?:event: (?<event>.+)\n)?data: (?<data>.*)$/.exec(block)!.groups!;
      return { event, data: data! };
    });
}

/** Of events whose name is their data's type. */
export function typedEvents<T extends { readonly type: string }>(body: string): T[] {
  return sentEvents(body).map(({ event, data }) => {
    const value = JSON.parse(data) as T;
    expect(event).toBe(value.type);
    return value;
  });
}
