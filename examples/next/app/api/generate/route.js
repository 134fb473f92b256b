// Streams a text: curl 'http://127.0.0.1:3000/api/generate?prompt=Once'
import { Model } from 'tramontane';

export const runtime = 'nodejs';
export const dynamic = 'force-dynamic';

// Kept where a reload of the code in development finds it: a model is loaded once a process.
const load = () =>
  (globalThis.model ??= Model.load(
    process.env.MODEL ?? 'node_modules/tramontane/models/breeze-Q4_0.gguf',
  ));

export async function GET(request) {
  const prompt = new URL(request.url).searchParams.get('prompt') ?? 'Once upon a time';
  try {
    const model = await load();
    const generation = model.generate(prompt, { maxTokens: 200, signal: request.signal });
    const body = ReadableStream.from(generation.textStream()).pipeThrough(new TextEncoderStream());
    return new Response(body, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
  } catch (error) {
    const status = error.code === 'QUEUE_FULL' ? 503 : 400;
    return Response.json({ error: error.message }, { status });
  }
}
