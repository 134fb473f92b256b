/** Values kept as JSON in one of the browser's stores, which may be full, or switched off. */
export class Stored<Value> {
  constructor(
    private readonly store: 'localStorage' | 'sessionStorage',
    private readonly name: string,
    /** What a value from elsewhere (another version, another page) is read as. */
    private readonly check: (value: unknown) => Value,
  ) {}

  read(): Value {
    try {
      return this.check(JSON.parse(window[this.store].getItem(this.key) ?? 'null'));
    } catch {
      return this.check(null);
    }
  }

  /** False where it could not be kept. */
  write(value: Value): boolean {
    try {
      window[this.store].setItem(this.key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  private get key(): string {
    return `tramontane.${this.name}`;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
