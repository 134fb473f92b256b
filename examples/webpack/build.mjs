// node build.mjs && node dist/main.cjs
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import webpack from 'webpack';

const folder = fileURLToPath(new URL('.', import.meta.url));
const stats = await promisify(webpack)({
  context: folder,
  entry: './main.mjs',
  mode: 'production',
  target: 'node20',
  output: { path: `${folder}dist`, filename: 'main.cjs' },
  // A native addon cannot be part of a bundle: the package stays in node_modules.
  externals: { tramontane: 'commonjs tramontane' },
});
if (stats.hasErrors()) throw new Error(stats.toString());
