/** POST /v1/load_lora_adapter, /v1/unload_lora_adapter: vLLM's way to bring adapters while a server runs. */
import { addRoute, type Context } from '../context';
import { ApiError, badField } from '../protocol/errors';
import { flag, honoured, inert, text } from '../protocol/fields';

interface LoadBody {
  readonly lora_name: string;
  readonly lora_path: string;
  readonly base_model_name?: string;
  readonly load_inplace?: boolean;
}

export function adapterRoutes(context: Context): void {
  const { models } = context;
  addRoute<LoadBody>(context, {
    path: '/v1/load_lora_adapter',
    summary: 'Loads an adapter from a file of the server.',
    fields: {
      lora_name: honoured('The name that requests give.', text),
      lora_path: honoured("A directory of PEFT or a GGUF file, on the server's machine.", text),
      base_model_name: honoured('Its model; may be left out where there is one.', text),
      load_inplace: honoured('Takes the place of an adapter of the same name.', flag),
    },
    required: ['lora_name', 'lora_path'],
    async answer({ lora_name: name, lora_path: path, base_model_name: base, load_inplace: swaps }) {
      const served = models.find(base);
      if (served.adapter !== undefined) {
        throw badField('base_model_name', `'${served.name}' is an adapter, and no model`);
      }
      if (swaps !== true) models.refuseTaken(name);
      const adapter = await served.model.loadAdapter(path, { name });
      try {
        // Requests that use the old one go on with it.
        if (swaps === true) models.remove(name)?.dispose();
        models.add(served, adapter);
      } catch (error) {
        adapter.dispose();
        throw error;
      }
      return { status: 'loaded', id: name, parent: served.name };
    },
  });
  addRoute<{ readonly lora_name: string }>(context, {
    path: '/v1/unload_lora_adapter',
    summary: 'Unloads an adapter; requests that use it go on.',
    fields: {
      lora_name: honoured('Its name.', text),
      lora_int_id: inert('The name says which it is.', { type: 'integer' }),
    },
    required: ['lora_name'],
    // eslint-disable-next-line @typescript-eslint/require-await
    async answer({ lora_name: name }) {
      const adapter = models.remove(name);
      if (adapter === undefined) {
        const message = `there is no adapter '${name}'`;
        throw new ApiError(404, message, { param: 'lora_name', code: 'model_not_found' });
      }
      adapter.dispose();
      return { status: 'unloaded', id: name };
    },
  });
}
