/** Names and what is said of them, in 80 columns. */
import { paint, type Style } from './style';

const COLUMNS = 80;

/**
 * A name, and from column `indent` on a text, with line breaks between its words. Control characters
 * of the text, which may be a file's, become spaces.
 * @param style of the text
 * @returns lines, the last one ended too
 */
export function entry(name: string, text: string, indent: number, style: Style = []): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/[\s\p{Cc}]+/u)) {
    if (line !== '' && indent + line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines
    .map((each, index) => {
      const label = index === 0 ? name : '';
      return `${paint('bold', label)}${' '.repeat(indent - label.length)}${paint(style, each)}\n`;
    })
    .join('');
}
