/** Colours of what is written to a terminal; none elsewhere, and none where NO_COLOR is set. */
import { WriteStream } from 'node:tty';
import * as util from 'node:util';

export type Style = Parameters<typeof util.styleText>[0];

interface Output {
  readonly isTTY?: boolean;
}

/** As Node decides it: by FORCE_COLOR, by NO_COLOR, and by what the terminal can. */
export function hasColours(output: Output): boolean {
  if (output.isTTY !== true && process.env['FORCE_COLOR'] === undefined) return false;
  return WriteStream.prototype.hasColors(process.env);
}

/** The text in a style where `output` shows it. Widths are to be made before. */
export function paint(style: Style, text: string, output: Output = process.stdout): string {
  const { styleText } = util as Partial<typeof util>; // Since Node 20.12.
  if (styleText === undefined || text === '' || !hasColours(output)) return text;
  return styleText(style, text, { validateStream: false });
}
