import { EMPTY, type Expression } from './expression';

/** A literal beginning, a character a byte, and what comes after it. */
export interface Branch {
  readonly bytes: string;
  readonly rest: Expression;
}

/** The literal text that `expression` begins with; undefined if there is none. */
export function headOf(expression: Expression): Branch | undefined {
  if (expression.type === 'text') {
    if (expression.text === '' || /\p{Surrogate}/u.test(expression.text)) return undefined;
    return { bytes: Buffer.from(expression.text).toString('latin1'), rest: EMPTY };
  }
  if (expression.type !== 'sequence' || expression.items.length === 0) return undefined;
  const head = headOf(expression.items[0]!);
  if (head === undefined) return undefined;
  const rest = expression.items.slice(1);
  return {
    bytes: head.bytes,
    rest: { type: 'sequence', items: head.rest === EMPTY ? rest : [head.rest, ...rest] },
  };
}

/**
 * Makes the trie of `branches`.
 * @param addLeaf makes what comes after a beginning; -1 if no text does
 * @returns the nodes at any of which it begins
 */
export function addTrie(
  branches: readonly Branch[],
  addLeaf: (rest: Expression) => number,
  addBytes: (first: number, last: number, next: number) => number,
  addSplit: (nodes: readonly number[]) => number,
): readonly number[] {
  const leaves = branches
    .map(({ bytes, rest }) => ({ bytes, node: addLeaf(rest) }))
    .filter(({ node }) => node >= 0)
    .sort((a, b) => (a.bytes < b.bytes ? -1 : a.bytes > b.bytes ? 1 : 0));
  // The places on the way to the current leaf where several go on, with what is known to.
  const path: { readonly depth: number; readonly nodes: Set<number> }[] = [];
  const put = (depth: number, node: number): void => {
    const top = path.at(-1);
    if (top?.depth === depth) top.nodes.add(node);
    else path.push({ depth, nodes: new Set([node]) });
  };
  leaves.forEach(({ bytes, node: leaf }, i) => {
    put(bytes.length, leaf);
    const shared = sharedLength(bytes, leaves[i + 1]?.bytes ?? '');
    for (let top = path.at(-1)!; top.depth > shared; top = path.at(-1)!) {
      path.pop();
      const depth = Math.max(shared, path.at(-1)?.depth ?? 0);
      let node = addSplit([...top.nodes]);
      for (let at = top.depth - 1; at >= depth; at--) {
        const byte = bytes.charCodeAt(at);
        node = addBytes(byte, byte, node);
      }
      put(depth, node);
    }
  });
  return [...(path[0]?.nodes ?? [])];
}

function sharedLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
