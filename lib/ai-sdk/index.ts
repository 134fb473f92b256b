/**
 * `tramontane/ai-sdk`: models of this package for Vercel's AI SDK, in the same process, without HTTP.
 */
export { languageModel, type ModelOptions } from './language-model';
