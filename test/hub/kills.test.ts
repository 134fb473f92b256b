/** A pull that is killed goes on where it was; `npm run test:pull-kills` is the long form. */
import { killRepeatedly } from './kills';

test('five kills at random bytes: the file is right, and little comes twice', async () => {
  const report = await killRepeatedly(5);
  expect(report).toMatchObject({ kills: 5, isRight: true, leftOver: [] });
  expect(report.sent).toBeLessThanOrEqual(report.allowed);
});
