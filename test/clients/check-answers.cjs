/**
 * Loaded into the server that a client is tried with: holds its answers to OpenAI's description,
 * and logs what is not of it as a failure, of which server.mjs wants none.
 */
'use strict';
const process = require('node:process');
const { subscribe } = require('node:diagnostics_channel');
require('../../scripts/typescript.js');
const { watchAnswer } = require('../server/openai-schema.ts');

subscribe('http.server.request.start', ({ request, response }) => {
  watchAnswer(request, response, ({ url, status, body }, problems) => {
    if (problems.length === 0) return;
    const line = { level: 60, msg: "an answer is not of OpenAI's description", url, status };
    process.stderr.write(`${JSON.stringify({ ...line, problems, body: body.slice(0, 500) })}\n`);
  });
});
