import { byId } from './dom';
import { Stored } from './storage';

/** The options: beside the conversation where there is room, else over it. */
export class Panel {
  private readonly element = byId('options');
  private readonly button = byId('show-options');
  private readonly wide = matchMedia('(min-width: 64rem)');
  private readonly stored = new Stored('localStorage', 'panel', (value) => value !== false);

  constructor() {
    this.button.addEventListener('click', () => {
      if (this.element.hidden) this.open();
      else this.close();
    });
    byId('hide-options').addEventListener('click', () => {
      this.close();
    });
    this.wide.addEventListener('change', () => {
      this.show(this.wide.matches && this.stored.read());
    });
    this.show(this.wide.matches && this.stored.read());
  }

  open(): void {
    this.stored.write(true);
    this.show(true);
    if (!this.wide.matches) byId('hide-options').focus();
  }

  /** Whether it lay over the conversation. */
  closeOverlay(): boolean {
    if (this.wide.matches || this.element.hidden) return false;
    this.close();
    return true;
  }

  private close(): void {
    if (this.wide.matches) this.stored.write(false);
    this.show(false);
    this.button.focus();
  }

  private show(shown: boolean): void {
    this.element.hidden = !shown;
    this.button.setAttribute('aria-expanded', String(shown));
    const covered = shown && !this.wide.matches;
    for (const each of document.querySelectorAll<HTMLElement>('.skip, header, .talk')) {
      each.inert = covered;
    }
  }
}
