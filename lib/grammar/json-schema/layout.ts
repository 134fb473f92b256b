import { EMPTY, optional, sequence, text, type Expression } from '../expression';

/** What stands between the parts of a container. */
export interface Layout {
  readonly comma: Expression;
  readonly colon: Expression;
  /** After an opening bracket, and before the closing one, of what is not empty. */
  readonly open: Expression;
  readonly close: Expression;
}

const SPACE = optional(text(' '));

export const COMPACT: Layout = {
  comma: sequence(text(','), SPACE),
  colon: sequence(text(':'), SPACE),
  open: EMPTY,
  close: EMPTY,
};

/** Lines as JSON.stringify writes them with an indent of two. */
export function prettyLayout(level: number): Layout {
  const line = (indent: number): string => `\n${'  '.repeat(indent)}`;
  return {
    comma: text(`,${line(level + 1)}`),
    colon: text(': '),
    open: text(line(level + 1)),
    close: text(line(level)),
  };
}
