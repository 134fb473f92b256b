import { hostName, isLoopback } from '../../lib/server/loopback';

test.each(['localhost', 'LOCALHOST', '127.0.0.1', '127.8.9.1', '::1', '[::1]', '::ffff:127.0.0.1'])(
  '%s is this machine alone',
  (host) => {
    expect(isLoopback(host)).toBe(true);
  },
);

test.each([
  '',
  '0.0.0.0',
  '::',
  '10.0.0.127',
  '127.0.0.1.attacker.example',
  '127.attacker.example',
  'localhost.attacker.example',
  'attacker-localhost',
  '::ffff:10.0.0.1',
])('%j is not', (host) => {
  expect(isLoopback(host)).toBe(false);
});

test.each([
  ['localhost:8000', 'localhost'],
  ['API.example', 'api.example'],
  ['[::1]:80', '[::1]'],
  ['', ''],
])('%j names the host %j', (header, name) => {
  expect(hostName(header)).toBe(name);
});
