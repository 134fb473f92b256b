/** The short form of `npm run test:soak`: nothing is left of clients who go, and no body is a 500. */
import { join } from 'node:path';
import { Model } from '../../lib/index';
import { createServer } from '../../lib/server';
import { fuzz } from '../../scripts/soak/fuzz';
import { ServerProcess } from '../../scripts/soak/process';
import type { Settled } from '../../scripts/soak/server';
import { Traffic } from '../../scripts/soak/traffic';

const EMBEDDED = 'models/breeze-Q4_0.gguf';

test('of two hundred clients, most of them gone, slow or wrong, nothing is left', async () => {
  const server = await ServerProcess.start({
    model: EMBEDDED,
    maxRunning: 8,
    nice: undefined,
    options: { maxQueuedRequests: 12, slowReaderTimeout: 1 },
  });
  const traffic = new Traffic(server.port);
  try {
    await traffic.send(2000, 200, 24);
    const { faults, statuses, kinds, left } = traffic.report;
    expect(faults).toEqual([]);
    expect(Object.keys(kinds).length).toBeGreaterThanOrEqual(6);
    expect(statuses[200]).toBeGreaterThan(30);
    expect(left).toBeGreaterThan(5);
    const { idleMs, gauges, aborted, warnings } = await server.ask<Settled>({ kind: 'settle' });
    expect(gauges).toMatchObject({
      num_requests_running: 0,
      num_requests_waiting: 0,
      kv_cache_usage_perc: 0,
    });
    expect(idleMs).toBeDefined();
    expect(aborted).toBeGreaterThanOrEqual(left);
    expect(warnings).toEqual([]);
  } finally {
    traffic.close();
    server.stop();
  }
});

test('a thousand bodies with faults in them are read or refused', async () => {
  const model = await Model.load(join(__dirname, '../..', EMBEDDED));
  const server = createServer({ breeze: model }, { maxTokensCap: 8 });
  try {
    const { faults, statuses } = await fuzz(server, 0, 1000);
    expect(faults).toEqual([]);
    expect(statuses[200]).toBeGreaterThan(50);
    expect(statuses[400]).toBeGreaterThan(500);
    expect(model.info.requests).toMatchObject({ running: 0, waiting: 0 });
  } finally {
    await server.close();
    await model.dispose();
  }
});
