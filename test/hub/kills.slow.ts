/** A hundred kills at random bytes; TRAMONTANE_KILLS=N: as many. */
import { killRepeatedly } from './kills';

const kills = Number(process.env['TRAMONTANE_KILLS'] ?? 100);

test(`${kills} kills: the file is right, and no byte beyond a chunk a connection a kill`, async () => {
  const report = await killRepeatedly(kills);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  expect(report).toMatchObject({ kills, isRight: true, leftOver: [] });
  expect(report.sent).toBeLessThanOrEqual(report.allowed);
}, 1_800_000);
