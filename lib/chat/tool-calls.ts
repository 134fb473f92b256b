/** Calls of tools in what a model writes, piece by piece as it comes. */
import type { ToolCall } from './messages';

/** What a chunk adds to one call. */
export interface ToolCallDelta {
  /** Which call of the answer, from 0. */
  readonly index: number;
  /** With the first delta of a call. */
  readonly id?: string;
  /** With the first delta of a call. */
  readonly name?: string;
  /** More of the arguments, JSON text: all deltas of a call joined are its arguments. */
  readonly arguments: string;
}

/** A call as it is given back: ready to be appended to a conversation. */
export interface AnsweredCall extends ToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

/** What came of a piece of text. */
export interface Reading {
  readonly content: string;
  readonly calls: readonly ToolCallDelta[];
}

/** How a format writes calls. */
export interface CallForm {
  /** The control token, or the text, that an answer of calls begins with. */
  readonly start: { readonly token: number } | { readonly text: string };
}

/**
 * Follows an answer that a grammar holds to its form: calls are objects with `name` and `arguments`,
 * in either order, wherever in the answer they stand; what is between them is the format's own. So
 * each character has one meaning, which depth, strings and escapes alone decide.
 */
export class ToolCallReader {
  private readonly form: CallForm;
  private readonly newId: () => string;
  private isCalls: boolean | undefined;
  /** Text that may yet turn out to be the beginning of a call. */
  private held = '';
  private readonly finished: AnsweredCall[] = [];
  private call: CallReader | undefined;

  /** @param isCalls true where the answer can be nothing else */
  constructor(form: CallForm, newId: () => string, isCalls?: boolean) {
    this.form = form;
    this.newId = newId;
    this.isCalls = isCalls;
  }

  /** A control token, which has no text. */
  control(token: number): void {
    const { start } = this.form;
    if (this.isCalls === undefined && 'token' in start && start.token === token) {
      this.isCalls = true;
    }
  }

  push(text: string): Reading {
    this.isCalls ??= this.decide(text);
    if (this.isCalls === undefined) return { content: '', calls: [] };
    const all = this.held + text;
    this.held = '';
    return this.isCalls ? { content: '', calls: this.read(all) } : { content: all, calls: [] };
  }

  /** What was held back, at the end of the answer. */
  flush(): string {
    const held = this.held;
    this.held = '';
    return this.isCalls === true ? '' : held;
  }

  /** The calls that are complete. */
  get calls(): readonly AnsweredCall[] {
    return this.finished;
  }

  private decide(text: string): boolean | undefined {
    const { start } = this.form;
    if ('token' in start) return text === '' ? undefined : false;
    const so_far = (this.held + text).trimStart();
    if (so_far.startsWith(start.text)) return true;
    if (!start.text.startsWith(so_far)) return false;
    this.held += text;
    return undefined;
  }

  private read(text: string): ToolCallDelta[] {
    const deltas: ToolCallDelta[] = [];
    for (const character of text) {
      if (this.call === undefined) {
        // Brackets, commas and tags between calls.
        if (character !== '{') continue;
        this.call = new CallReader(this.finished.length, this.newId);
      }
      this.call.push(character);
      if (!this.call.isComplete) continue;
      this.call.takeDelta(deltas);
      this.finished.push(this.call.answer());
      this.call = undefined;
    }
    this.call?.takeDelta(deltas);
    return deltas;
  }
}

/** One call: `{"name": "f", "arguments": {"a": 1}, "id": "abcdefgh1"}`. */
class CallReader {
  isComplete = false;
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** Of the outermost object: the key being read or whose value is, and the value so far. */
  private key = '';
  private value = '';
  private isKey = true;
  private name: string | undefined;
  private readonly id: string;
  private values = '';
  private sent = 0;
  private isAnnounced = false;

  constructor(
    private readonly index: number,
    newId: () => string,
  ) {
    this.id = newId();
  }

  push(character: string): void {
    const outermost = this.depth === 1 && !this.inString;
    if (outermost && character === ':' && this.isKey) {
      this.isKey = false;
      this.key = this.value.trim();
      this.value = '';
      return;
    }
    if (outermost && (character === ',' || character === '}')) {
      this.endMember();
      if (character === '}') this.isComplete = true;
      return;
    }
    this.follow(character);
    if (character === '{' && this.depth === 1 && !this.inString && this.key === '') {
      if (this.isKey) return; // The object's own bracket.
    }
    this.value += character;
    if (!this.isKey && this.key === '"arguments"') this.values = this.value.trimStart();
  }

  private follow(character: string): void {
    if (this.inString) {
      if (this.escaped) this.escaped = false;
      else if (character === '\\') this.escaped = true;
      else if (character === '"') this.inString = false;
    } else if (character === '"') {
      this.inString = true;
    } else if (character === '{' || character === '[') {
      this.depth++;
    } else if (character === '}' || character === ']') {
      this.depth--;
    }
  }

  private endMember(): void {
    if (this.key === '"name"') this.name = JSON.parse(this.value.trim()) as string;
    this.isKey = true;
    this.key = '';
    this.value = '';
  }

  /** Nothing can be said of a call before its name is known. */
  takeDelta(deltas: ToolCallDelta[]): void {
    if (this.name === undefined) return;
    const more = this.values.slice(this.sent);
    if (this.isAnnounced && more === '') return;
    this.sent = this.values.length;
    const first = this.isAnnounced ? {} : { id: this.id, name: this.name };
    this.isAnnounced = true;
    deltas.push({ index: this.index, ...first, arguments: more });
  }

  answer(): AnsweredCall {
    const { id, name = '', values } = this;
    return { id, type: 'function', function: { name, arguments: values } };
  }
}

/** What ids of calls are made of. */
export const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/**
 * Ids of nine letters and digits, as Mistral's formats want them, no two the same.
 * @param random bytes, as many as asked for
 */
export function callIds(random: (count: number) => Uint8Array): () => string {
  const used = new Set<string>();
  return () => {
    for (;;) {
      // 248 is a multiple of 62: every letter is as likely.
      const letters = Array.from(random(32)).filter((byte) => byte < 248);
      const id = letters
        .slice(0, 9)
        .map((byte) => ID_LETTERS[byte % 62]!)
        .join('');
      if (id.length < 9 || used.has(id)) continue;
      used.add(id);
      return id;
    }
  };
}
