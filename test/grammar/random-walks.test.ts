import { join } from 'node:path';
import Ajv2020 from 'ajv/dist/2020';
import { choiceRules } from '../../lib/grammar/choice';
import { schemaRules } from '../../lib/grammar/json-schema/schema-rules';
import { regexRules } from '../../lib/grammar/regex-expression';
import { CompiledGrammar } from '../../lib/model/grammar';
import { grammarVocabulary } from '../../lib/model/grammar-vocabulary';
import { native, type NativeVocabulary } from '../../lib/model/native';
import { loadTokenizer } from '../../lib/tokenizer/load';
import type { Tokenizer } from '../../lib/tokenizer/tokenizer';
import { describeWithReference } from '../reference';
import { Random } from './random';
import { walk } from './random-walks';

/** All walks; TRAMONTANE_WALKS=10000 for the long form. */
const WALKS = Number(process.env['TRAMONTANE_WALKS'] ?? 600);

const SCHEMAS = [
  {
    type: 'object',
    properties: {
      id: { type: 'string', pattern: '^[A-Z]{2}-\\d{1,4}$' },
      kind: { enum: ['a', 'b', 1, null, { c: true }] },
      size: { type: 'number', minimum: -1.5, exclusiveMaximum: 40 },
      tags: { type: 'array', items: { type: 'string', maxLength: 4 }, maxItems: 3 },
      at: { type: 'string', format: 'date' },
    },
    required: ['id', 'size'],
  },
  {
    $ref: '#/$defs/tree',
    $defs: {
      tree: {
        type: 'object',
        properties: {
          value: { type: 'integer' },
          left: { $ref: '#/$defs/tree' },
          right: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/tree' }] },
        },
        required: ['value'],
      },
    },
  },
  {
    type: 'array',
    prefixItems: [{ const: 'x' }, { type: 'boolean' }],
    items: { type: 'integer', multipleOf: 5 },
    minItems: 2,
    maxItems: 6,
  },
  {
    oneOf: [
      { type: 'string', minLength: 2, maxLength: 8 },
      { type: 'integer', minimum: 10, maximum: 4321 },
    ],
  },
  {
    type: 'object',
    patternProperties: { '^n_': { type: 'number' } },
    additionalProperties: false,
    maxProperties: 3,
  },
  {
    type: 'object',
    additionalProperties: { type: 'string', maxLength: 3 },
    properties: { a: { type: 'null' } },
    required: ['a'],
  },
] as const;

const EXPRESSIONS = [
  '[a-z]+@[a-z]+\\.(com|org)',
  '(\\d{1,3}\\.){3}\\d{1,3}',
  '[^x]{2,40}y?',
  'é|[\u{1F600}-\u{1F64F}]+',
  '(ab|c)*d',
];

describeWithReference('random texts of grammars, on the V3 vocabulary', (directory) => {
  let tokenizer: Tokenizer;
  let vocabulary: NativeVocabulary;

  beforeAll(async () => {
    tokenizer = await loadTokenizer(
      join(directory, 'tokenizers/mistral_instruct_tokenizer_240323.model.v3'),
    );
    vocabulary = await grammarVocabulary(tokenizer);
  });

  test.each(SCHEMAS.map((schema, index) => [index, schema] as const))(
    'schema %i: what ends parses and ajv takes it',
    (index, schema) => {
      const ajv = new Ajv2020({ strict: false, validateFormats: false });
      const validate = ajv.compile(schema);
      const grammar = new CompiledGrammar(schemaRules(schema));
      const random = new Random(100 + index);
      let ended = 0;
      for (let i = 0; i < WALKS / 12; i++) {
        const found = walk(grammar, { tokenizer, vocabulary }, random, 300);
        if (!found.ended) continue;
        ended++;
        const value: unknown = JSON.parse(found.text);
        if (!validate(value)) throw new Error(`${found.text}: ${ajv.errorsText(validate.errors)}`);
        expect(grammar.accepts(found.text)).toBe(true);
      }
      expect(ended).toBeGreaterThan(0);
    },
  );

  test.each(EXPRESSIONS)('%s: what ends matches', (source) => {
    const whole = new RegExp(`^(?:${source})$`, 'u');
    const random = new Random(source.length);
    const grammar = new CompiledGrammar(regexRules(source));
    for (let i = 0; i < WALKS / 10; i++) {
      const found = walk(grammar, { tokenizer, vocabulary }, random, 300);
      if (found.ended && !whole.test(found.text)) throw new Error(JSON.stringify(found.text));
    }
  });

  test.each([
    ['▁{"', '{"name": 1}'],
    ['▁[{', '[{"name": 1}]'],
  ])('%s, which models were trained to begin with, is in the first mask', (piece, text) => {
    const options = { endTokens: Int32Array.of(tokenizer.eosId!), dummySpace: true };
    const grammar = new CompiledGrammar(choiceRules([text]));
    const matcher = new (native().Matcher)(grammar.native, vocabulary, options);
    const id = tokenizer.idOf(piece)!;
    expect((matcher.mask()[id >>> 5]! >>> (id & 31)) & 1).toBe(1);
  });
});
