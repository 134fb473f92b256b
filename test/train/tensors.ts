import { openFile } from '../../lib/files/byte-source';
import { readSafetensors } from '../../lib/files/hf/safetensors';

/** The tensors of a safetensors file of F32, by name. */
export async function readTensors(path: string): Promise<Map<string, Float32Array>> {
  const source = await openFile(path);
  const tensors = new Map<string, Float32Array>();
  for (const { name, type, offset, byteLength } of await readSafetensors(source)) {
    expect(type).toBe('F32');
    const bytes = await source.read(offset, byteLength);
    tensors.set(name, new Float32Array(bytes.buffer, bytes.byteOffset, byteLength / 4));
  }
  await source.close();
  return tensors;
}
