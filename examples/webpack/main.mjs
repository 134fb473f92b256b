import { join } from 'node:path';
import { Model } from 'tramontane';

const embedded = join(process.cwd(), 'node_modules/tramontane/models/breeze-Q4_0.gguf');
const model = await Model.load(process.env.MODEL ?? embedded);
console.log(await model.generate('Once upon a time', { maxTokens: 40 }).text());
await model.dispose();
