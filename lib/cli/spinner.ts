const FRAMES = ['|', '/', '-', '\\'];

/** Turns on stderr, where that is a terminal, until it is stopped. */
export class Spinner {
  private readonly timer: NodeJS.Timeout | undefined;
  private frame = 0;

  constructor() {
    if (!process.stderr.isTTY) return;
    this.timer = setInterval(() => {
      process.stderr.write(`\r${FRAMES[this.frame++ % FRAMES.length]!}`);
    }, 120);
  }

  stop(): void {
    if (this.timer?.hasRef() !== true) return;
    clearInterval(this.timer);
    this.timer.unref();
    process.stderr.write('\r \r');
  }
}
