import { unsupported } from '../files/problems';
import { STEPS } from './slices';

/** Finds strings of a fixed set in texts: at each place the longest, and never one inside another. */
export class Literals {
  /** UTF-16 units of the longest. */
  readonly longest: number;
  private readonly root = new TrieNode();

  /**
   * A literal without an id is found too, so that none is found inside it, but stays text.
   * @param path the file's, for messages
   */
  constructor(
    path: string,
    literals: readonly (readonly [text: string, id: number | undefined])[],
  ) {
    let total = 0;
    let longest = 0;
    for (const [text, id] of literals) {
      total += text.length;
      longest = Math.max(longest, text.length);
      if (text.length > MAX_LENGTH) throw unsupported(path, `a token of ${text.length} characters`);
      if (total > MAX_TOTAL) throw unsupported(path, `${total} characters of added tokens`);
      this.root.insert(text, id);
    }
    this.longest = longest;
  }

  /**
   * Cuts a text into literals and what lies between them, in order. Undefined now and then, where
   * the caller may pause.
   * @example "a<b>c" gives "a" at 0, the id of "<b>", "c" at 4
   */
  *cut(text: string): Generator<Between | Literal | undefined> {
    let start = 0;
    for (let at = 0, steps = 1; at < text.length; steps++) {
      if (steps % STEPS === 0) yield undefined;
      const node = this.root.longest(text, at);
      if (node === undefined) {
        at++;
        continue;
      }
      const end = at + node.depth;
      if (node.id !== undefined) {
        if (start < at) yield { text: text.slice(start, at), at: start };
        yield { id: node.id };
        start = end;
      }
      at = end;
    }
    if (start < text.length) yield { text: text.slice(start), at: start };
  }
}

/** A section of a text, which is not empty, and where it starts. */
export interface Between {
  readonly text: string;
  readonly at: number;
  readonly id?: undefined;
}

export interface Literal {
  readonly id: number;
}

/** A text cut at literals, if there are any to look for. */
export function cutAt(
  literals: Literals | undefined,
  text: string,
): Iterable<Between | Literal | undefined> {
  return literals === undefined ? [{ text, at: 0 }] : literals.cut(text);
}

/**
 * Bounds what a hostile file can cost: each place of a text is compared with at most MAX_LENGTH
 * characters, and each character of a literal takes a node.
 */
const MAX_LENGTH = 256;
const MAX_TOTAL = 2 ** 18;

class TrieNode {
  /** Whether a literal ends here, and its id. */
  ends = false;
  id: number | undefined;
  private children: Map<number, TrieNode> | undefined;

  constructor(readonly depth = 0) {}

  insert(text: string, id: number | undefined): void {
    let node: TrieNode = this; // eslint-disable-line @typescript-eslint/no-this-alias
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      node.children ??= new Map();
      let child = node.children.get(unit);
      if (child === undefined) {
        child = new TrieNode(i + 1);
        node.children.set(unit, child);
      }
      node = child;
    }
    if (node === this) return;
    node.ends = true;
    node.id = id;
  }

  longest(text: string, at: number): TrieNode | undefined {
    let found: TrieNode | undefined;
    let node = this.children?.get(text.charCodeAt(at));
    while (node !== undefined) {
      if (node.ends) found = node;
      node = node.children?.get(text.charCodeAt(at + node.depth));
    }
    return found;
  }
}
