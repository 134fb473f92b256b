import { fuzzOnce } from './fuzz';
import { Random } from './random';

test('random texts compile or are refused by a GrammarError', () => {
  const random = new Random(9);
  const outcomes = { compiled: 0, refused: 0 };
  for (let i = 0; i < 3000; i++) outcomes[fuzzOnce(random)]++;
  expect(outcomes.compiled).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
});
