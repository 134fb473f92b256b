/** Names and what is said of them, in 80 columns. */

const COLUMNS = 80;

/**
 * A name, and from column `indent` on a text, with line breaks between its words. Control characters
 * of the text, which may be a file's, become spaces.
 * @returns lines, the last one ended too
 */
export function entry(name: string, text: string, indent: number): string {
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
    .map((each, index) => `${(index === 0 ? name : '').padEnd(indent)}${each}\n`)
    .join('');
}
