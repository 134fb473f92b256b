/** A progress bar on one line of a terminal; silent elsewhere. */

const WIDTH = 30;
const CLEAR_LINE = '\r\x1b[K';

export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class Progress {
  private shown = '';

  constructor(private readonly terminal: Terminal = process.stderr) {}

  /** @param fraction how much of the phase is done, 0 to 1 */
  update(phase: string, fraction: number): void {
    const part = Math.min(Math.max(fraction, 0), 1);
    const filled = Math.round(part * WIDTH);
    const bar = '#'.repeat(filled).padEnd(WIDTH, '.');
    this.show(`${phase} [${bar}] ${Math.round(part * 100)}%`);
  }

  /** Shows a line in place of the one before. */
  show(line: string): void {
    if (this.terminal.isTTY !== true || line === this.shown) return;
    this.shown = line;
    this.terminal.write(CLEAR_LINE + line);
  }

  /** Removes the line. */
  clear(): void {
    if (this.shown === '') return;
    this.shown = '';
    this.terminal.write(CLEAR_LINE);
  }
}
