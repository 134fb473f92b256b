import createPurifier from 'dompurify';
import { Marked, type Token, type Tokens } from 'marked';
import { copyButton, make } from './dom';

// What a model writes is not trusted: HTML in it is shown as text, images (which would tell
// another host that they were read) as links, and what remains goes through a list of tags.
const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    heading(token) {
      const level = levels.get(token);
      const text = this.parser.parseInline(token.tokens);
      return level === undefined
        ? `<p><strong>${text}</strong></p>`
        : `<h${level}>${text}</h${level}>`;
    },
  },
});

/** Of the headings that are in no list and no quote. */
const levels = new WeakMap<object, number>();

const purifier = createPurifier(window);
const POLICY = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 'del', 'a', 'code', 'pre'],
    ...['blockquote', 'ul', 'ol', 'li', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
  ],
  ALLOWED_ATTR: ['href', 'title', 'align', 'start', 'class'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // Else the rule for addresses would be theirs too.
  ADD_URI_SAFE_ATTR: ['align', 'start'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

purifier.addHook('uponSanitizeAttribute', (_node, attribute) => {
  if (attribute.attrName === 'class' && !/^language-[\w.+#-]+$/.test(attribute.attrValue)) {
    attribute.keepAttr = false;
  }
});
purifier.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function codeBlock(text: string, language: string): HTMLElement {
  const code = make('code', {}, text);
  return make(
    'div',
    { class: 'code-block' },
    make(
      'div',
      { class: 'code-bar' },
      make('span', {}, language || 'text'),
      copyButton('Copy the code', () => code.textContent),
    ),
    make('pre', { tabindex: '0' }, code),
  );
}

/** Markdown that grows at its end: only blocks that changed are drawn again. */
export class MarkdownView {
  private blocks: { token: Token; element: HTMLElement }[] = [];
  private definitions = '';

  constructor(private readonly parent: HTMLElement) {}

  update(text: string): void {
    const tokens = tokensOf(text);
    // `[1]: https://...` gives its address to links that were drawn before it.
    const definitions = tokens
      .filter(({ type }) => type === 'def')
      .map(({ raw }) => raw)
      .join('');
    let same = 0;
    if (definitions !== this.definitions)
      for (const { element } of this.blocks.splice(0)) element.remove();
    this.definitions = definitions;
    while (same < tokens.length && tokens[same]!.raw === this.blocks[same]?.token.raw) same++;
    if (this.extendCode(tokens, same)) return;
    for (const { element } of this.blocks.splice(same)) element.remove();
    for (const token of tokens.slice(same)) {
      const element = make('div', { class: 'block' }, ...drawn(token));
      this.parent.append(element);
      this.blocks.push({ token, element });
    }
  }

  /** Code that only became longer keeps its element: what is selected in it stays so. */
  private extendCode(tokens: readonly Token[], same: number): boolean {
    const token = tokens[same];
    const block = this.blocks[same];
    if (same !== tokens.length - 1 || same !== this.blocks.length - 1) return false;
    if (!isCode(token) || block === undefined || !isCode(block.token)) return false;
    if (token.lang !== block.token.lang) return false;
    const code = block.element.querySelector('code');
    const grown = token.text.startsWith(block.token.text);
    if (code === null || !grown) return false;
    code.append(token.text.slice(block.token.text.length));
    block.token = token;
    return true;
  }
}

function tokensOf(text: string): Token[] {
  try {
    const tokens = marked.lexer(text);
    // The message's own heading is of the second level; readers of a screen want none left out.
    let last = 2;
    for (const token of tokens) {
      if (token.type !== 'heading') continue;
      last = Math.min((token as Tokens.Heading).depth + 2, last + 1, 6);
      levels.set(token, last);
    }
    return tokens;
  } catch {
    // Such as thousands of nested quotes, which end its stack.
    return [{ type: 'text', raw: text, text }];
  }
}

function isCode(token: Token | undefined): token is Tokens.Code {
  return token?.type === 'code';
}

function drawn(token: Token): Node[] {
  if (isCode(token)) return [codeBlock(token.text, language(token.lang))];
  let fragment;
  try {
    fragment = purifier.sanitize(marked.parser([token]), POLICY);
  } catch {
    return [make('p', { class: 'as-is' }, token.raw)];
  }
  for (const pre of fragment.querySelectorAll('pre')) {
    const name = /language-(\S+)/.exec(pre.firstElementChild?.className ?? '')?.[1];
    pre.replaceWith(codeBlock(pre.textContent, name ?? ''));
  }
  for (const table of fragment.querySelectorAll('table')) {
    const frame = make('div', { class: 'table', tabindex: '0', role: 'region' });
    frame.setAttribute('aria-label', 'Table');
    table.replaceWith(frame);
    frame.append(table);
  }
  return [...fragment.childNodes];
}

function language(info: string | undefined): string {
  return /^\S*/.exec(info ?? '')?.[0] ?? '';
}
