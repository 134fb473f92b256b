/** Pseudo-random ids (a linear congruential generator), so that no prefix is in the cache. */
export class RandomPrompts {
  private state = 1;

  constructor(private readonly vocabularySize: number) {}

  /** A prompt that no earlier one began like. */
  next(tokens: number): number[] {
    return Array.from({ length: tokens }, () => {
      this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
      return Math.floor((this.state / 2 ** 32) * this.vocabularySize);
    });
  }
}
