/**
 * Chat templates as files have them, in Jinja. A template writes one text, in which control tokens
 * are named by their pieces, so that a plain rendering makes control tokens of whatever a user
 * writes. Here the first character of every control piece that occurs in content is replaced by a
 * character that is in no text of this conversation; the rendering is cut at control pieces, and
 * what lies between gets its own characters back.
 */
import { runInNewContext } from 'node:vm';
import { MessagesError, TramontaneError } from '../errors';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { joined } from './inert';
import type { ReadMessage } from './messages';
import { Segments, type EncodedConversation } from './segments';
import { callArguments, type ReadTool } from './tools';

/** What is used of `@huggingface/jinja`, whose own types are an ECMAScript module's alone. */
interface Jinja {
  readonly Template: new (text: string) => { render(context: Record<string, unknown>): string };
}

/** Loaded for the first model that needs it. */
function jinja(): Jinja {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('@huggingface/jinja') as Jinja;
}

/** Templates of the family have at most some 10,000 characters. */
const MOST_TEMPLATE = 2 ** 18;
const MOST_OUTPUT = 2 ** 24;
/** Of one rendering, which takes a few on any conversation. */
const MOST_MILLISECONDS = 500;
/** A private-use plane: assigned to nobody, and so in hardly any text. */
const FIRST_STAND_IN = 0xf0000;

/**
 * A conversation that is learned. A template does not say what in its text the assistant wrote: it
 * is what each of its messages adds to the conversation before it and the beginning of an answer.
 * @throws MessagesError where a template writes the same turns otherwise when others follow
 */
export function encodeLearnedJinja(
  tokenizer: Tokenizer,
  template: string,
  messages: readonly ReadMessage[],
  tools: readonly ReadTool[],
): EncodedConversation {
  const encode = (count: number): number[] =>
    encodeJinja(tokenizer, template, messages.slice(0, count), tools);
  const ids = encode(messages.length);
  const answers = messages.flatMap(({ role, index }, place) => {
    if (role !== 'assistant') return [];
    const before = encode(place);
    const through = encode(place + 1);
    if (isStart(before, ids) && isStart(through, ids) && through.length > before.length) {
      return [{ start: before.length, end: through.length, index }];
    }
    const problem =
      'the chat template writes this turn otherwise when others follow, so that the answer cannot ' +
      "be found: name a format by the option chatTemplate ('mistral-v3')";
    throw new MessagesError('TemplateError', problem, index);
  });
  return { ids, answers };
}

function isStart(start: readonly number[], ids: readonly number[]): boolean {
  return start.every((id, place) => ids[place] === id);
}

/**
 * A template is code of the model's file: its length, its time and what it writes are bounded.
 * @throws MessagesError with the template's own words where it refuses the conversation;
 *   TramontaneError UNSUPPORTED_FILE for a template that is no Jinja
 */
export function encodeJinja(
  tokenizer: Tokenizer,
  template: string,
  messages: readonly ReadMessage[],
  tools: readonly ReadTool[],
): number[] {
  for (const { calls, index } of messages) for (const call of calls) callArguments(call, index);
  const controls = controlPieces(tokenizer);
  const stand = new StandIns(controls, messages, tools);
  const rendered = render(template, {
    messages: messages.map((message) => plain(message, stand)),
    ...(tools.length > 0 && {
      tools: tools.map((tool, index) => stand.hideIn(valueOf(tool, index))),
    }),
    bos_token: pieceOf(tokenizer, tokenizer.bosId),
    eos_token: pieceOf(tokenizer, tokenizer.eosId),
    add_generation_prompt: messages.at(-1)!.role !== 'assistant',
  });
  const out = new Segments(tokenizer, []);
  const { ids } = out;
  for (const part of cut(withoutEnd(rendered, messages, tokenizer), controls)) {
    const id = controls.get(part);
    if (id !== undefined) ids.push(id);
    else if (ids.length === 0) out.text(stand.show(part));
    // Behind a control token there is no dummy space: templates write the spaces themselves.
    else out.continued(stand.show(part));
  }
  if (tokenizer.addBos && tokenizer.bosId !== undefined && ids[0] !== tokenizer.bosId) {
    ids.unshift(tokenizer.bosId);
  }
  return ids;
}

function pieceOf(tokenizer: Tokenizer, id: number | undefined): string {
  return id === undefined ? '' : (tokenizer.pieceOf(id) ?? '');
}

/** Control pieces by text; for {@link cut} the longest first. */
function controlPieces(tokenizer: Tokenizer): ReadonlyMap<string, number> {
  const pieces: [string, number][] = [];
  for (let id = 0; id < tokenizer.vocabularySize; id++) {
    if (tokenizer.isControl(id)) pieces.push([tokenizer.pieceOf(id) ?? '', id]);
  }
  pieces.sort(([a], [b]) => b.length - a.length);
  return new Map(pieces.filter(([piece]) => piece !== ''));
}

function cut(text: string, controls: ReadonlyMap<string, number>): string[] {
  if (controls.size === 0) return text === '' ? [] : [text];
  const escaped = Array.from(controls.keys(), (piece) =>
    piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  );
  return text.split(new RegExp(`(${escaped.join('|')})`)).filter((part) => part !== '');
}

/** An answer that is continued has no end yet, though the template writes one. */
function withoutEnd(text: string, messages: readonly ReadMessage[], tokenizer: Tokenizer): string {
  const last = messages.at(-1)!;
  if (!last.prefix) return text;
  const ends = ['<|im_end|>', '<|end_of_turn|>', pieceOf(tokenizer, tokenizer.eosId)];
  const trimmed = text.trimEnd();
  const end = ends.find((piece) => piece !== '' && trimmed.endsWith(piece));
  return end === undefined ? text : trimmed.slice(0, -end.length);
}

function plain(message: ReadMessage, stand: StandIns): Record<string, unknown> {
  const { role, calls, callId, name } = message;
  const text = joined(message.content);
  return {
    role,
    content: stand.hide(text),
    ...(calls.length > 0 && {
      tool_calls: calls.map((call) => ({
        ...(call.id !== undefined && { id: stand.hide(call.id) }),
        type: 'function',
        function: {
          name: stand.hide(call.name),
          arguments: stand.hideIn(parsed(call.arguments)),
        },
      })),
    }),
    ...(callId !== undefined && { tool_call_id: stand.hide(callId) }),
    ...(name !== undefined && { name: stand.hide(name) }),
  };
}

/** @throws MessagesError for infinite numbers, which the other formats write as Python does */
function valueOf({ json }: ReadTool, index: number): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    const problem = `tools[${String(index)}]: function.parameters must be JSON`;
    throw new MessagesError('InvalidToolSchemaException', problem);
  }
}

function parsed(values: unknown): unknown {
  if (typeof values !== 'string') return values ?? {};
  try {
    return JSON.parse(values);
  } catch {
    return values;
  }
}

function render(template: string, context: Record<string, unknown>): string {
  if (template.length > MOST_TEMPLATE) {
    throw new TramontaneError('UNSUPPORTED_FILE', 'the chat template is too long');
  }
  let compiled: InstanceType<Jinja['Template']>;
  try {
    compiled = new (jinja().Template)(template);
  } catch (cause) {
    const problem = `the chat template cannot be read: ${reasonOf(cause)}`;
    throw new TramontaneError('UNSUPPORTED_FILE', problem, { cause });
  }
  let text: string;
  try {
    text = withinTime(() => compiled.render(context));
  } catch (cause) {
    throw new MessagesError('TemplateError', `the chat template refuses: ${reasonOf(cause)}`);
  }
  if (text.length > MOST_OUTPUT) {
    throw new MessagesError('TemplateError', 'the chat template writes too much');
  }
  return text;
}

/** Stops what a template does for ever: V8 ends a script at its time, and all that it calls. */
function withinTime(render: () => string): string {
  return runInNewContext('render()', { render }, { timeout: MOST_MILLISECONDS }) as string;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.slice(0, 500) : String(cause);
}

/** First characters of control pieces, and the characters that stand for them in content. */
class StandIns {
  private readonly standIns = new Map<string, string>();
  private readonly originals = new Map<string, string>();

  constructor(
    controls: ReadonlyMap<string, number>,
    messages: readonly ReadMessage[],
    tools: readonly ReadTool[],
  ) {
    const used = JSON.stringify([messages, tools], (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    let code = FIRST_STAND_IN;
    for (const piece of controls.keys()) {
      const first = String.fromCodePoint(piece.codePointAt(0)!);
      if (this.standIns.has(first)) continue;
      while (used.includes(String.fromCodePoint(code))) code++;
      const standIn = String.fromCodePoint(code++);
      this.standIns.set(first, standIn);
      this.originals.set(standIn, first);
    }
  }

  /**
   * Wherever such a character stands: a piece may be put together of two contents, or of the
   * template's words and a content.
   */
  hide(text: string): string {
    let hidden = text;
    for (const [first, standIn] of this.standIns) hidden = hidden.replaceAll(first, standIn);
    return hidden;
  }

  /** All strings and keys of a value of JSON. */
  hideIn(value: unknown): unknown {
    if (typeof value === 'string') return this.hide(value);
    if (Array.isArray(value)) return value.map((item) => this.hideIn(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [this.hide(key), this.hideIn(member)]),
    );
  }

  show(text: string): string {
    let shown = text;
    for (const [standIn, first] of this.originals) shown = shown.replaceAll(standIn, first);
    return shown;
  }
}
