import { fuzzHeaders } from '../../scripts/fuzz-headers';

test('3000 mutated headers give nothing but typed errors, at once', async () => {
  const { tally, failures } = await fuzzHeaders(3000, 20_240_601);
  expect(failures).toEqual([]);
  // The mutations reach all the ways a file can end: mostly wrong, some unsupported, some right.
  for (const ending of ['INVALID_FILE', 'UNSUPPORTED_FILE', 'accepted']) {
    expect(tally[ending]).toBeGreaterThan(20);
  }
});
