import type { Answer, Figures, Message } from './conversation';
import { button, copyButton, icon, make } from './dom';
import { codeBlock, MarkdownView } from './markdown';

export interface Actions {
  readonly regenerate: () => void;
  readonly edit: () => void;
}

const WHOLE = new Intl.NumberFormat('en');

/** One message of the conversation. */
export class MessageView {
  readonly element: HTMLElement;
  private readonly body = make('div', { class: 'body' });
  private readonly foot = make('div', { class: 'foot' });
  private readonly figures = make('span', { class: 'figures' });
  private readonly outcome = make('span', { class: 'outcome' });
  private readonly markdown = new MarkdownView(this.body);

  constructor(
    private readonly message: Message,
    actions: Actions,
  ) {
    const user = message.role === 'user';
    const name = user ? 'You' : message.model;
    this.element = make('article', { class: message.role, 'aria-label': name });
    const heading = user
      ? make('h2', { class: 'hidden' }, name)
      : make('h2', { class: 'name' }, icon('wind'), name);
    this.element.append(heading);
    this.element.append(this.body, this.foot);
    const change = user
      ? button('', { class: 'icon small', 'aria-label': 'Edit', title: 'Edit' }, actions.edit)
      : button(
          '',
          { class: 'icon small', 'aria-label': 'Answer again', title: 'Answer again' },
          actions.regenerate,
        );
    change.append(icon(user ? 'pencil' : 'again'));
    change.classList.add('change');
    const copy = copyButton('Copy', () => message.content);
    this.foot.append(copy, change, this.figures, this.outcome);
    this.update();
  }

  update(): void {
    const { message } = this;
    if (message.role === 'user') {
      this.body.textContent = message.content;
      return;
    }
    const running = message.outcome === 'running';
    this.element.classList.toggle('running', running);
    this.element.setAttribute('aria-busy', String(running));
    if (message.json) this.showJson(message);
    else this.markdown.update(message.content);
    this.figures.textContent = message.figures === undefined ? '' : figuresText(message.figures);
    this.outcome.textContent = OUTCOMES[message.outcome];
  }

  private showJson({ content }: Answer): void {
    if (content === '') return;
    const text = indented(content);
    const code = this.body.querySelector('code');
    if (code === null) this.body.append(codeBlock(text, 'json'));
    else code.textContent = text;
  }
}

const OUTCOMES = {
  running: '',
  stop: '',
  length: 'Ended at the limit of tokens: raise “Max tokens” under Options for more.',
  stopped: 'Stopped.',
  failed: 'Cut off.',
} as const;

function figuresText({ promptTokens, tokens, exact, firstSeconds, seconds }: Figures): string {
  const parts = [`${exact ? '' : 'about '}${counted(tokens)}`];
  // From the first token to the last: one alone has no rate.
  if (tokens > 1 && seconds > 0) parts.push(`${rate((tokens - 1) / seconds)} tokens/s`);
  if (tokens > 0) parts.push(`first after ${firstSeconds.toFixed(2)} s`);
  if (promptTokens !== undefined) parts.push(`prompt of ${counted(promptTokens)}`);
  return parts.join(' · ');
}

function counted(tokens: number): string {
  return `${WHOLE.format(tokens)} ${tokens === 1 ? 'token' : 'tokens'}`;
}

function rate(each: number): string {
  return each < 100 ? each.toFixed(1) : WHOLE.format(Math.round(each));
}

/** JSON, whole or only begun, a value a line. Not parsed, which would round long numbers. */
function indented(json: string): string {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const parts = json.matchAll(/"(?:[^"\\]|\\.)*"?|[{[]\s*[}\]]|[{}[\],:]|[^\s"{}[\],:]+/g);
  return Array.from(parts, ([part]) => {
    if (/^[{[]\s*[}\]]$/.test(part)) return part.replace(/\s/g, '');
    if (part === '{' || part === '[') {
      depth++;
      return part + line();
    }
    if (part === '}' || part === ']') {
      depth = Math.max(0, depth - 1);
      return line() + part;
    }
    if (part === ',') return part + line();
    return part === ':' ? ': ' : part;
  }).join('');
}
