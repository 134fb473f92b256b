import { byId, elementOf } from './dom';

/** Asks for the key; undefined where it is cancelled. Several at once share one dialog. */
export function askKey(refused: boolean): Promise<string | undefined> {
  asking ??= ask(refused).finally(() => {
    asking = undefined;
  });
  return asking;
}

let asking: Promise<string | undefined> | undefined;

function ask(refused: boolean): Promise<string | undefined> {
  const dialog = elementOf('key-dialog', HTMLDialogElement);
  const field = elementOf('key', HTMLInputElement);
  field.value = '';
  byId('key-reason').textContent = refused
    ? 'The server does not know this key. See whether it is whole, without spaces around it.'
    : 'Whoever runs the server has given you one.';
  return new Promise((resolve) => {
    let key: string | undefined;
    const closed = new AbortController();
    const { signal } = closed;
    byId('key-form').addEventListener(
      'submit',
      () => {
        key = field.value.trim();
      },
      { signal },
    );
    byId('key-cancel').addEventListener(
      'click',
      () => {
        dialog.close();
      },
      { signal },
    );
    dialog.addEventListener(
      'close',
      () => {
        closed.abort();
        field.value = '';
        resolve(key === '' ? undefined : key);
      },
      { signal },
    );
    dialog.showModal();
  });
}
