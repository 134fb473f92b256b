/** A model for the time of one command: loaded with a progress bar, ended by Ctrl-C, disposed. */
import { join } from 'node:path';
import { Argument } from 'commander';
import { Model, type LoadOptions } from '../index';
import { modelPath } from './model-path';
import { loadFlags, type LoadFlags } from './options';
import { Progress } from './progress';

/** The model that comes with the package; see models/README.md. */
export const EMBEDDED_MODEL = join(__dirname, '../../models/breeze-Q4_0.gguf');

/** The argument of commands that take one model; without it they take {@link EMBEDDED_MODEL}. */
export function modelArgument(): Argument {
  return new Argument(
    '[model]',
    'a .gguf file, a directory or hf:OWNER/REPO:QUANT (default: the embedded model)',
  );
}

/** Ctrl-C was pressed. The command has said what there was to say. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs `body` with a loaded model.
 * @param body gets a signal that the first Ctrl-C aborts; a second one ends the process at once
 * @throws Interrupted after Ctrl-C, when `body` is done
 */
export async function withModel(
  path: string,
  flags: LoadFlags,
  body: (model: Model, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', interrupt);
  try {
    const model = await load(path, loadFlags(flags), controller.signal);
    try {
      await body(model, controller.signal);
    } finally {
      await model.dispose();
    }
    controller.signal.throwIfAborted();
  } catch (error) {
    // What fails because of an interruption is no failure to report.
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    process.off('SIGINT', interrupt);
  }
}

/** Loads a model, with a progress bar when stderr is a terminal; fetches it first if it has to be. */
export async function load(
  path: string,
  options: LoadOptions,
  signal?: AbortSignal,
): Promise<Model> {
  const here = await modelPath(path, signal);
  const progress = new Progress();
  try {
    return await Model.load(here, {
      ...options,
      ...(signal && { signal }),
      onProgress: ({ phase, fraction }) => {
        progress.update(phase, fraction);
      },
    });
  } finally {
    progress.clear();
  }
}
