import { callDeltas } from '../../lib/server/protocol/call-deltas';
import { ownCallId, withOwnCallIds } from '../../lib/chat/call-ids';

describe('ids of calls', () => {
  test("others' become nine letters and digits, the same each time; ours stay", () => {
    const id = ownCallId('call_0123456789abcdefghijklmn');
    expect(id).toMatch(/^[A-Za-z0-9]{9}$/);
    expect(ownCallId('call_0123456789abcdefghijklmn')).toBe(id);
    expect(ownCallId('abc123')).not.toBe(id);
    expect(ownCallId('a1b2c3d4e')).toBe('a1b2c3d4e');
  });

  test('a call and its answer keep belonging together', () => {
    const call = { id: 'toolu_1', function: { name: 'f', arguments: '{}' } };
    const messages = withOwnCallIds([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', content: '1', tool_call_id: 'toolu_1' },
    ]);
    const id = ownCallId('toolu_1');
    expect(messages[1]).toMatchObject({ tool_calls: [{ ...call, id }] });
    expect(messages[2]).toMatchObject({ tool_call_id: id });
  });

  test('what is no conversation is left to the rules of conversations', () => {
    const odd = [{ role: 'assistant', tool_calls: [null, 1, {}] }, { role: 'tool' }];
    expect(withOwnCallIds(odd as never)).toEqual(odd);
  });
});

describe('pieces of calls', () => {
  const pieces = [
    { index: 0, id: 'a1b2c3d4e', name: 'f', arguments: '{' },
    { index: 0, arguments: '}' },
  ];

  test("in OpenAI's form: what the call is, then pieces of its arguments", () => {
    const deltas = callDeltas({});
    expect(deltas.next(pieces)).toEqual([
      { index: 0, id: 'a1b2c3d4e', type: 'function', function: { name: 'f', arguments: '' } },
      { index: 0, function: { arguments: '{' } },
      { index: 0, function: { arguments: '}' } },
    ]);
    expect(deltas.rest()).toEqual([]);
  });

  test.each(['mistral-client-typescript/2.7.0', 'speakeasy-sdk/python mistralai'])(
    '%s gets whole calls',
    (agent) => {
      const deltas = callDeltas({ 'user-agent': agent });
      expect(deltas.next(pieces)).toEqual([]);
      expect(deltas.rest()).toEqual([
        { index: 0, id: 'a1b2c3d4e', type: 'function', function: { name: 'f', arguments: '{}' } },
      ]);
    },
  );
});
