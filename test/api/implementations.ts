/** @returns the names of all that a processor can run, of the message about a wrong TRAMONTANE_CPU */
export function implementationsIn(message: string): string[] {
  const [, names] = /can run: ([\w-]+(?:, [\w-]+)*)/.exec(message) ?? [];
  if (names === undefined) throw new Error(`no implementations in: ${message}`);
  return names.split(', ');
}
