import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { KEY, SEED_MODEL, Server, serving } from './server.mjs';

const run = promisify(execFile);
const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false,
);
const skip = hasCurl ? false : 'curl is not here';
const held = serving([], '');

const JSON_HEADER = ['-H', 'Content-Type: application/json'];
const BODY = `{ "model": "${SEED_MODEL}", "prompt": "My favourite condiment is", "max_tokens": 25 }`;

async function curl(...options) {
  return (await run('curl', ['-sS', '--max-time', '60', ...options])).stdout;
}

test('the request as it is written in the issue', { skip }, async () => {
  const { host } = new URL(held.server.url);
  const command =
    `curl http://${host}/v1/completions -H "Content-Type: application/json" ` + `-d '${BODY}'`;
  const { stdout } = await run('sh', ['-c', command]);
  const answer = JSON.parse(stdout);
  assert.equal(answer.object, 'text_completion');
  assert.notEqual(answer.choices[0].text, '');
  assert.ok(answer.usage.completion_tokens <= 25);
});

test('events', { skip }, async () => {
  const body = JSON.stringify({ prompt: 'Once', max_tokens: 3, stream: true });
  const text = await curl('-N', `${held.server.v1}/completions`, ...JSON_HEADER, '-d', body);
  const lines = text.trimEnd().split('\n\n');
  assert.equal(lines.pop(), 'data: [DONE]');
  for (const line of lines) {
    assert.equal(JSON.parse(line.replace(/^data: /, '')).object, 'text_completion');
  }
});

test('without the header of JSON: curl sends a form, and is told', { skip }, async () => {
  const status = ['-o', '/dev/null', '-w', '%{http_code}'];
  assert.equal(await curl(...status, `${held.server.v1}/completions`, '-d', BODY), '415');
});

test('a body that is no JSON', { skip }, async () => {
  const { error } = JSON.parse(
    await curl(`${held.server.v1}/completions`, ...JSON_HEADER, '-d', '{"prompt": '),
  );
  assert.equal(error.type, 'invalid_request_error');
  assert.equal(error.param, null);
});

test('a name that leads to this machine is not answered', { skip }, async () => {
  const { error } = JSON.parse(
    await curl(`${held.server.v1}/models`, '-H', 'Host: rebound.example'),
  );
  assert.equal(error.code, 'host_not_allowed');
});

test('its end ends the work', { skip }, async () => {
  const body = JSON.stringify({ prompt: 'Once', max_tokens: 4000, ignore_eos: true, stream: true });
  const child = spawn('curl', [
    '-sSN',
    `${held.server.v1}/completions`,
    ...JSON_HEADER,
    '-d',
    body,
  ]);
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await held.server.untilBusy((busy) => busy === 0);
});

test('with keys: 401 without, and the request as it is with one', { skip }, async () => {
  const server = await Server.start();
  try {
    const request = [`${server.v1}/completions`, ...JSON_HEADER, '-d', BODY];
    const refused = JSON.parse(await curl(...request));
    assert.equal(refused.error.code, 'invalid_api_key');
    const answer = JSON.parse(await curl(...request, '-H', `Authorization: Bearer ${KEY}`));
    assert.equal(answer.object, 'text_completion');
  } finally {
    await server.stop();
  }
});
