import { buildNetwork } from '../../lib/grammar/network';
import { regexRules } from '../../lib/grammar/regex-expression';
import { matchesNetwork, matchesRules } from './naive';
import { Random } from './random';

test.each([
  '[a-c]+',
  '^a|b$',
  '^(a|^b)c$',
  'a$|^b*',
  '(?:^ab)+',
  'a(^|b)c',
  '(a|b)*?c{2,40}',
  '(a?b?){3,50}',
  '\\w+(?:-\\w+)*',
  'é+|😀{1,2}',
  '[^a]*',
  '(?:(?:a|b)(?:c|)){0,30}',
  '',
  '^$',
  'a|',
  '$',
  '(a$|b)c?',
])('%s as a whole: the network takes what JavaScript matches', (source) => {
  const random = new Random(8);
  const rules = regexRules(source);
  const network = buildNetwork(rules);
  const native = new RegExp(`^(?:${source})$`, 'u');
  for (let i = 0; i < 400; i++) {
    const text = random.text(random.pick(['ab', 'abc', 'aé😀-b']), i % 9);
    const found = [text, matchesRules(rules, text), matchesNetwork(network, text)];
    expect(found).toEqual([text, native.test(text), native.test(text)]);
  }
});
