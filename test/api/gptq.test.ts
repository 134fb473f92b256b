/** GPTQ directories through the API. */
import { inspect, Model } from '../../lib';
import { fixture } from '../reference';

const ACT_ORDER = fixture('gptq/swa-gptq-b4-g128-actorder');

test('inspect() and model.info say how the weights are quantized', async () => {
  const gptq = {
    bits: 4,
    groupSize: 128,
    actOrder: true,
    symmetric: true,
    zeroFormat: 'v1',
    plainModules: ['lm_head'],
    otherModules: {},
  };
  expect(await inspect(ACT_ORDER)).toMatchObject({ kind: 'gptq', gptq });
  await using model = await Model.load(ACT_ORDER);
  expect(model.info.gptq).toEqual(gptq);
  expect(await inspect(fixture('gguf/swa-Q4_0.gguf'))).not.toHaveProperty('gptq');
});
