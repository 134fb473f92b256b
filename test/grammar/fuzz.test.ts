import { GrammarError } from '../../lib/errors';
import { schemaRules } from '../../lib/grammar/json-schema/schema-rules';
import { buildNetwork } from '../../lib/grammar/network';
import { fuzzOnce } from './fuzz';
import { fuzzSchema } from './fuzz-schemas';
import { Random } from './random';

test('random texts compile or are refused by a GrammarError', () => {
  const random = new Random(9);
  const outcomes = { compiled: 0, refused: 0 };
  for (let i = 0; i < 3000; i++) outcomes[fuzzOnce(random)]++;
  expect(outcomes.compiled).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
});

test('random schemas compile or are refused by a GrammarError', () => {
  const random = new Random(1);
  const outcomes = { taken: 0, refused: 0 };
  for (let i = 0; i < 2000; i++) outcomes[fuzzSchema(random)]++;
  expect(outcomes.taken).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
});

// What random schemas found.
test.each([
  ['names of properties that are no schema', { propertyNames: null }],
  [
    'patterns of keys that are too large together',
    { patternProperties: { '^.{0,400}$': { type: 'string' }, '.': false, '.*a.{9}': true } },
  ],
  [
    'characters of many ranges, counted, and another pattern',
    { patternProperties: { '\\p{L}+': false, '^.{0,400}$': { type: 'string' } } },
  ],
])('%s: a GrammarError', (_, schema) => {
  expect(() => buildNetwork(schemaRules(schema))).toThrow(GrammarError);
});
