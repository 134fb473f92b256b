/** How far a download is: one line of a terminal that changes, and some plain lines elsewhere. */
import type { PullProgress } from '../index';
import { Progress, type Terminal } from './progress';
import { sizeText, timeText } from './units';

/** Seconds over which the rate is taken. */
const RATE_SECONDS = 5;
/** Seconds between plain lines. */
const LINE_SECONDS = 10;
const LEAST_BAR = 10;
const MOST_BAR = 30;
const MOST_NAME = 32;

interface Screen extends Terminal {
  readonly columns?: number;
}

export class DownloadBar {
  private readonly progress: Progress;
  /** When how many bytes had come, the latest last. */
  private samples: { readonly at: number; readonly bytes: number }[] = [];
  private lineAt = -Infinity;

  constructor(
    private readonly screen: Screen = process.stderr,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.progress = new Progress(screen);
  }

  update(progress: PullProgress): void {
    const { phase, note, totalBytes, file } = progress;
    if (note !== undefined) this.say(note);
    if (phase === 'choose' && totalBytes > 0) this.say(`fetching ${file}, ${sizeText(totalBytes)}`);
    if (phase === 'download') this.download(progress);
    if (phase === 'verify') this.verify(progress);
    if (phase === 'ready') this.clear();
  }

  clear(): void {
    this.progress.clear();
  }

  /** A line that stays. */
  private say(text: string): void {
    this.progress.clear();
    this.screen.write(`tramontane: ${text}\n`);
  }

  private download(progress: PullProgress): void {
    const { bytes, cachedBytes, totalBytes, file } = progress;
    const rate = this.rate(bytes - cachedBytes);
    const left = rate > 0 ? ` ${timeText((totalBytes - bytes) / rate)} left` : '';
    const part = `${Math.floor(100 * (totalBytes === 0 ? 1 : bytes / totalBytes))}%`;
    const speed = rate > 0 ? `${sizeText(rate)}/s` : '';
    if (this.screen.isTTY !== true) {
      const at = this.now();
      if (rate === 0 || at - this.lineAt < LINE_SECONDS) return;
      this.lineAt = at;
      this.say(`${part} of ${sizeText(totalBytes)}, ${speed},${left}`);
      return;
    }
    const numbers =
      `${part.padStart(4)} ${sizeText(bytes).padStart(8)} of ${sizeText(totalBytes)}` +
      ` ${speed.padStart(11)}${left.padStart(12)}`;
    this.progress.show(this.line(file, numbers, totalBytes === 0 ? 1 : bytes / totalBytes));
  }

  private verify({ file, fraction, totalBytes }: PullProgress): void {
    // Small files come and go too quickly to be read of.
    if (totalBytes < 1e8) return;
    this.progress.show(this.line(file, ` checking ${Math.floor(100 * fraction)}%`, fraction));
  }

  /** A name, a bar and numbers, as far as there is room: numbers first, then the bar. */
  private line(file: string, numbers: string, fraction: number): string {
    const room = (this.screen.columns ?? 80) - 1 - numbers.length;
    const bar = Math.min(MOST_BAR, Math.floor(room * 0.5) - 3);
    if (bar < LEAST_BAR) return shortened(file, Math.max(room - 1, 0)) + numbers;
    const filled = Math.round(Math.min(fraction, 1) * bar);
    const name = shortened(file, Math.min(room - bar - 3, MOST_NAME));
    return `${name} [${'#'.repeat(filled)}${'.'.repeat(bar - filled)}]${numbers}`;
  }

  /** Bytes a second of the last seconds. */
  private rate(bytes: number): number {
    const at = this.now();
    this.samples.push({ at, bytes });
    while (this.samples.length > 2 && at - this.samples[1]!.at > RATE_SECONDS) this.samples.shift();
    const first = this.samples[0]!;
    return at - first.at < 0.5 ? 0 : Math.max(0, (bytes - first.bytes) / (at - first.at));
  }
}

/** The end of a name says more than its middle: its quantization is there. */
function shortened(name: string, length: number): string {
  const last = name.replace(/^.*\//, '');
  return last.length <= length ? last : `…${last.slice(last.length - length + 1)}`;
}
