import { adviceOn } from './advice';
import { Api, type Model, ServerError } from './api';
import { type Answer, Conversation, type Message } from './conversation';
import { announce, button, byId, elementOf, icon, make } from './dom';
import { generate } from './generation';
import { askKey } from './key-dialog';
import { MessageView } from './message-view';
import { Options } from './options';
import { Panel } from './panel';
import { Stored, textOf } from './storage';
import { startTheme } from './theme';

const STARTERS = [
  'What is your favourite condiment?',
  'Explain to a child how a heat pump warms a house',
  'Write a TypeScript function that reads durations such as 1h30m',
  'Compare TCP and UDP in a table',
];
const SAVE_EVERY_MS = 1000;

class Page {
  private readonly api = new Api(askKey);
  private readonly conversation = new Conversation();
  private readonly panel = new Panel();
  private readonly options = new Options(() => {
    this.panel.open();
  });
  private readonly chosen = new Stored('localStorage', 'model', textOf);
  private readonly select = elementOf('model', HTMLSelectElement);
  private readonly prompt = elementOf('prompt', HTMLTextAreaElement);
  private models: readonly Model[] = [];
  private views: MessageView[] = [];
  private running: AbortController | undefined;
  /** Whether what is added is scrolled to: until the reader scrolls away from the end. */
  private following = true;

  start(): void {
    startTheme();
    this.drawStarters();
    this.drawMessages();
    this.listen();
    this.scrollToEnd();
    this.focusPrompt();
    void this.loadModels();
  }

  private listen(): void {
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.send();
    });
    this.prompt.addEventListener('input', () => {
      this.fitPrompt();
    });
    this.prompt.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.isComposing || event.shiftKey) return;
      // Keyboards on glass have no Shift+Enter: there Enter is a new line, and the button sends.
      if (matchMedia('(pointer: coarse)').matches && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.send();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || document.querySelector('dialog[open]') !== null) return;
      if (this.panel.closeOverlay()) return;
      this.running?.abort();
    });
    byId('stop-answer').addEventListener('click', () => this.running?.abort());
    byId('clear').addEventListener('click', () => {
      this.clear();
    });
    this.select.addEventListener('change', () => this.chosen.write(this.select.value));
    byId('latest').addEventListener('click', () => {
      this.scrollToEnd();
    });
    addEventListener('scroll', () => {
      this.following = distanceToEnd() < 80;
      this.showLatest();
    });
    addEventListener('pagehide', () => {
      this.conversation.save();
    });
  }

  private async loadModels(): Promise<void> {
    try {
      this.models = await this.api.models();
    } catch (error) {
      this.select.replaceChildren(make('option', { value: '' }, 'No models'));
      this.fail(error, () => {
        void this.loadModels();
      });
      return;
    }
    const ids = this.models.map(({ id }) => id);
    this.select.replaceChildren(...ids.map((id) => make('option', { value: id }, id)));
    const chosen = this.chosen.read();
    if (ids.includes(chosen)) this.select.value = chosen;
    this.select.disabled = ids.length === 0;
    if (ids.length > 0) return;
    this.select.append(make('option', { value: '' }, 'No models'));
    this.notify('The server has no models', '', 'Start it with one, then reload this page.');
  }

  private send(): void {
    const content = this.prompt.value;
    if (content.trim() === '' || this.running !== undefined) return;
    if (!this.ready()) return;
    this.prompt.value = '';
    this.fitPrompt();
    this.add({ role: 'user', content });
    void this.answer();
  }

  /** Whether there is a model, and no field of the options is wrong; says so if not. */
  private ready(): boolean {
    if (this.select.value === '') {
      this.notify('There is no model yet', '', 'Wait until the list of models is there.');
      return false;
    }
    return this.options.sampling() !== undefined;
  }

  private async answer(): Promise<void> {
    const sampling = this.options.sampling();
    if (sampling === undefined || this.running !== undefined) return;
    const model = this.select.value;
    const messages = this.conversation.request(this.options.system);
    const json = this.options.json;
    const answer: Answer = {
      ...{ role: 'assistant', content: '', model, json },
      ...{ outcome: 'running', figures: undefined },
    };
    this.clearNotices();
    const view = this.add(answer);
    const running = new AbortController();
    this.setRunning(running);
    announce('The model is answering');
    const redraw = this.drawing(view);
    try {
      await generate(this.api, { model, messages, ...sampling }, answer, running.signal, redraw);
      announce(answer.outcome === 'stopped' ? 'Stopped' : 'The answer is complete');
    } catch (error) {
      this.fail(error, () => {
        this.regenerate();
      });
    } finally {
      this.setRunning(undefined);
      view.update();
      this.finish(answer);
    }
  }

  private finish(answer: Answer): void {
    const index = this.conversation.messages.indexOf(answer);
    // The chat was cleared meanwhile.
    if (index < 0) return;
    if (answer.content === '' && answer.outcome !== 'stop' && answer.outcome !== 'length') {
      this.cut(index);
      if (answer.outcome === 'stopped') {
        this.notify('Stopped before the answer began', '', '', () => {
          this.regenerate();
        });
      }
    }
    if (!this.conversation.save()) {
      const todo = 'A reload will lose it: start a new chat, or allow this page to keep data.';
      this.notify('The browser has no room for this conversation', '', todo);
    }
    this.showContext(answer);
    this.follow();
    if (document.activeElement === document.body) this.focusPrompt();
  }

  /** Draws once a frame, and saves now and then, however fast the pieces come. */
  private drawing(view: MessageView): () => void {
    let frame: number | undefined;
    let saved = performance.now();
    return () => {
      frame ??= requestAnimationFrame(() => {
        frame = undefined;
        view.update();
        this.follow();
      });
      if (performance.now() - saved < SAVE_EVERY_MS) return;
      saved = performance.now();
      this.conversation.save();
    };
  }

  /** The last question once more, without its answer. */
  private regenerate(): void {
    if (this.running !== undefined || !this.ready()) return;
    const last = this.conversation.messages.findLastIndex(({ role }) => role === 'user');
    if (last < 0) return;
    this.cut(last + 1);
    void this.answer();
  }

  /** Takes the last question back into the box. */
  private edit(): void {
    const last = this.conversation.messages.findLastIndex(({ role }) => role === 'user');
    const message = this.conversation.messages[last];
    if (this.running !== undefined || message === undefined) return;
    this.cut(last);
    this.clearNotices();
    this.prompt.value = message.content;
    this.fitPrompt();
    this.prompt.focus();
  }

  private clear(): void {
    this.running?.abort();
    const before = [...this.conversation.messages];
    this.clearNotices();
    this.conversation.replace([]);
    this.drawMessages();
    byId('note').textContent = NOTE;
    this.focusPrompt();
    if (before.length === 0) return;
    announce('A new chat');
    const undo = button('Bring it back', { class: 'plain' }, () => {
      this.clearNotices();
      this.conversation.replace([...before, ...this.conversation.messages]);
      this.drawMessages();
      this.scrollToEnd();
    });
    const notice = make(
      'div',
      { class: 'notice quiet' },
      make('p', {}, 'The chat was cleared.'),
      undo,
    );
    byId('notices').replaceChildren(notice);
  }

  private add(message: Message): MessageView {
    this.conversation.messages.push(message);
    this.conversation.save();
    const view = this.view(message);
    this.views.push(view);
    byId('messages').append(view.element);
    byId('welcome').hidden = true;
    this.scrollToEnd();
    return view;
  }

  /** Removes the messages from here on. */
  private cut(index: number): void {
    this.conversation.messages.splice(index);
    this.conversation.save();
    for (const view of this.views.splice(index)) view.element.remove();
    byId('welcome').hidden = this.views.length > 0;
  }

  private view(message: Message): MessageView {
    return new MessageView(message, {
      regenerate: () => {
        this.regenerate();
      },
      edit: () => {
        this.edit();
      },
    });
  }

  private drawMessages(): void {
    this.views = this.conversation.messages.map((message) => this.view(message));
    byId('messages').replaceChildren(...this.views.map(({ element }) => element));
    byId('welcome').hidden = this.views.length > 0;
  }

  private drawStarters(): void {
    const starters = STARTERS.map((text) =>
      make(
        'li',
        {},
        button(text, {}, () => {
          this.prompt.value = text;
          this.send();
        }),
      ),
    );
    byId('starters').replaceChildren(...starters);
  }

  private setRunning(running: AbortController | undefined): void {
    const focused = document.activeElement;
    this.running = running;
    const [send, stop] = [byId('send'), byId('stop-answer')];
    send.hidden = running !== undefined;
    stop.hidden = running === undefined;
    document.body.classList.toggle('answering', running !== undefined);
    // The two are in one place: the focus goes on with whoever is there.
    if (focused === send) stop.focus();
    if (focused === stop) this.focusPrompt();
  }

  private fail(error: unknown, again: () => void): void {
    if (!(error instanceof ServerError)) {
      this.notify('The page could not read the answer', String(error), 'Try again.', again);
      return;
    }
    const { title, todo } = adviceOn(error);
    this.notify(title, error.message, todo, again);
  }

  private notify(title: string, message: string, todo: string, again?: () => void): void {
    const text = [make('strong', {}, title)];
    for (const line of [message, todo]) if (line !== '') text.push(make('p', {}, line));
    const notice = make('div', { class: 'notice' }, icon('alert'), make('div', {}, ...text));
    if (again !== undefined) {
      const retry = button('Try again', { class: 'plain' }, () => {
        this.clearNotices();
        again();
      });
      notice.append(retry);
    }
    byId('notices').replaceChildren(notice);
    this.follow();
  }

  private clearNotices(): void {
    byId('notices').replaceChildren();
  }

  private showContext({ figures, model }: Answer): void {
    const context = this.models.find(({ id }) => id === model)?.context;
    if (context === undefined || figures?.promptTokens === undefined) return;
    const used = (figures.promptTokens + figures.tokens).toLocaleString('en');
    byId('note').textContent = `${used} of ${context.toLocaleString('en')} tokens of context`;
  }

  private fitPrompt(): void {
    this.prompt.style.height = 'auto';
    this.prompt.style.height = `${this.prompt.scrollHeight}px`;
  }

  /** Not on glass, where it would bring the keyboard up. */
  private focusPrompt(): void {
    if (!matchMedia('(pointer: coarse)').matches) this.prompt.focus();
  }

  private follow(): void {
    if (this.following) this.scrollToEnd();
    this.showLatest();
  }

  private scrollToEnd(): void {
    scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
  }

  private showLatest(): void {
    byId('latest').hidden = distanceToEnd() < 80;
  }
}

const NOTE = 'Models make mistakes: check what matters.';

function distanceToEnd(): number {
  return document.documentElement.scrollHeight - scrollY - innerHeight;
}

new Page().start();
