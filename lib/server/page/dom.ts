/** The element of the template with this id. */
export function byId(id: string): HTMLElement {
  return elementOf(id, HTMLElement);
}

export function elementOf<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`The page has no ${kind.name} "${id}".`);
  return element;
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function button(
  text: string,
  attributes: Readonly<Record<string, string>>,
  press: () => void,
): HTMLButtonElement {
  const element = make('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', press);
  return element;
}

/** Says it to a screen reader. */
export function announce(text: string): void {
  byId('status').textContent = text;
}

/** A button that copies what `text` gives at that time, and shows that it did. */
export function copyButton(label: string, text: () => string): HTMLButtonElement {
  const copy = make(
    'button',
    { type: 'button', class: 'icon small', 'aria-label': label, title: label },
    icon('copy'),
  );
  copy.addEventListener('click', () => {
    void copyText(text()).then((copied) => {
      announce(copied ? 'Copied' : 'The browser did not allow copying: select the text instead');
      if (!copied) return;
      copy.replaceChildren(icon('check'));
      setTimeout(() => {
        copy.replaceChildren(icon('copy'));
      }, 1500);
    });
  });
  return copy;
}

async function copyText(text: string): Promise<boolean> {
  // Pages from http:// on another machine have no clipboard object: they are no secure context.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (clipboard !== undefined) {
    try {
      await clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }
  const focused = document.activeElement;
  const box = make('textarea', { class: 'hidden', 'aria-hidden': 'true', readonly: '' });
  box.value = text;
  document.body.append(box);
  box.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- all there is without a secure context
  const copied = document.execCommand('copy');
  box.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
