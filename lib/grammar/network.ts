import type { RuleSet } from './expression';
import { NetworkBuilder } from './network-builder';

/**
 * The tables by which native matches: a recursive transition network over bytes. A text is in the
 * language if bytes lead from the first node to an END with no call open.
 *
 * A node is four integers, [op, a, b, next]:
 *
 * | op     | a                        | b                | goes on at                          |
 * | ------ | ------------------------ | ---------------- | ----------------------------------- |
 * | END    |                          |                  | the `next` of the call it is in     |
 * | BYTES  | least byte               | largest byte     | `next`, having taken one such byte  |
 * | SPLIT  | first index into `edges` | how many         | any of these nodes                  |
 * | CALL   | first node of the callee |                  | the callee, and then `next`         |
 * | REPEAT | first node of the body   | least            | the body while fewer than most were |
 * |        |                          |                  | made; `next` once least were        |
 * | TOKEN  | the token's id           |                  | `next`, having taken that token     |
 *
 * The `most` of a REPEAT is in `most[node]`, -1 where there is none; its body takes at least one
 * byte each time. The body ends in an END, as a rule does.
 *
 * @example `a{2,3}`: node 0 REPEAT a=1 b=2 next=3, most[0] = 3; 1 BYTES 97 97 next=2; 2 END; 3 END
 */
export interface Network {
  /** [nodes][4]; the first node is where texts start. */
  readonly nodes: Int32Array;
  readonly edges: Int32Array;
  /** [nodes]; 0 for other nodes than REPEAT. */
  readonly most: Int32Array;
}

export const Op = { END: 0, BYTES: 1, SPLIT: 2, CALL: 3, REPEAT: 4, TOKEN: 5 } as const;

/**
 * The tables of a grammar.
 * @throws {GrammarError} for left recursion, and for what is too large or too deep
 */
export function buildNetwork(rules: RuleSet): Network {
  return new NetworkBuilder(rules).build();
}
