/** Chat formats of the fine-tunes of Mistral 7B. */
import { MessagesError } from '../errors';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { joined } from './inert';
import type { Call, ReadMessage } from './messages';
import type { ValidationMode } from './mistral-rules';
import { quote } from './python-json';
import { Segments, type EncodedConversation } from './segments';
import { callArguments, valueOf, type ReadTool } from './tools';

export type Style = 'chatml' | 'zephyr' | 'openchat' | 'vicuna' | 'alpaca';

/** How a style writes a turn. */
interface Form {
  /** Before the text of a turn, and before an answer. */
  readonly system: string;
  readonly user: string;
  readonly assistant: string;
  readonly tool?: string;
  /** After the text of a turn; a marker there is a control token where the vocabulary has it. */
  readonly end: string;
  /** After an answer. */
  readonly answerEnd: string;
  /** Put before everything. */
  readonly bos: boolean;
  /** Where no system message is. */
  readonly defaultSystem?: string;
  /** Pieces that are control tokens where the vocabulary has them, and text elsewhere. */
  readonly controls: readonly string[];
}

const CHATML = ['<|im_start|>', '<|im_end|>'];

const FORMS: Readonly<Record<Style, Form>> = {
  // OpenHermes, Dolphin, OpenOrca, Hermes 2 Pro.
  chatml: {
    system: '<|im_start|>system\n',
    user: '<|im_start|>user\n',
    assistant: '<|im_start|>assistant\n',
    tool: '<|im_start|>tool\n',
    end: '<|im_end|>\n',
    answerEnd: '<|im_end|>\n',
    bos: false,
    controls: CHATML,
  },
  // HuggingFaceH4/zephyr-7b: roles are text, the end of a turn is the end token.
  zephyr: {
    system: '<|system|>\n',
    user: '<|user|>\n',
    assistant: '<|assistant|>\n',
    end: '</s>\n',
    answerEnd: '</s>\n',
    bos: false,
    controls: ['</s>'],
  },
  // OpenChat 3.5 and Starling.
  openchat: {
    system: '',
    user: 'GPT4 Correct User: ',
    assistant: 'GPT4 Correct Assistant:',
    end: '<|end_of_turn|>',
    answerEnd: '<|end_of_turn|>',
    bos: true,
    controls: ['<|end_of_turn|>'],
  },
  vicuna: {
    system: '',
    user: 'USER: ',
    assistant: 'ASSISTANT:',
    end: ' ',
    answerEnd: '</s>',
    bos: true,
    controls: ['</s>'],
  },
  alpaca: {
    system: '',
    user: '### Instruction:\n',
    assistant: '### Response:\n',
    end: '\n\n',
    answerEnd: '</s>\n\n',
    bos: true,
    defaultSystem:
      'Below is an instruction that describes a task. Write a response that appropriately ' +
      'completes the request.',
    controls: ['</s>'],
  },
};

export function isStyle(template: unknown): template is Style {
  return typeof template === 'string' && Object.hasOwn(FORMS, template);
}

/** What ends an answer in a style, beside the model's end token. */
export function stopsOf(style: Style): readonly string[] {
  const { answerEnd, controls } = FORMS[style];
  const control = controls.find((piece) => answerEnd.startsWith(piece));
  return control === undefined || control === '</s>' ? [] : [control];
}

/**
 * @param messages as they were read; neighbours of one role stay apart, as these templates have them
 * @throws MessagesError
 */
export function encodeStyle(
  tokenizer: Tokenizer,
  style: Style,
  messages: readonly ReadMessage[],
  tools: readonly ReadTool[],
  mode: ValidationMode,
): EncodedConversation {
  const form = FORMS[style];
  checkTurns(style, messages, tools, mode);
  const out = new Writer(tokenizer, form);
  if (form.bos) out.bos();
  const texts = messages.map(({ content }) => joined(content));
  const hermes = tools.length > 0 ? hermesTools(tools) : undefined;
  const first = messages[0]!.role === 'system' ? texts[0] : form.defaultSystem;
  const system = [first, hermes].filter((text) => text !== undefined).join('\n\n');
  if (system !== '') out.turn(form.system, system, form.end);
  messages.forEach((message, place) => {
    const text = texts[place]!;
    switch (message.role) {
      case 'system':
        if (place > 0) out.turn(form.system, text, form.end);
        break;
      case 'user':
        out.turn(form.user, text, form.end);
        break;
      case 'tool':
        out.turn(form.tool ?? '', hermesResult(text, message.name), form.end);
        break;
      case 'assistant':
        out.answer(
          [text, ...message.calls.map((call) => hermesCall(call, message.index))]
            .filter((part) => part !== '')
            .join('\n'),
          message,
        );
    }
  });
  if (messages.at(-1)!.prefix || mode === 'finetuning') return out.finish();
  return out.question().finish();
}

function checkTurns(
  style: Style,
  messages: readonly ReadMessage[],
  tools: readonly ReadTool[],
  mode: ValidationMode,
): void {
  const last = messages.at(-1)!;
  if (mode === 'finetuning') checkLearned(last);
  else if (last.role === 'assistant' && !last.prefix) {
    const problem = 'the last message must be a user or tool message, or have prefix: true';
    throw new MessagesError('InvalidMessageStructureException', problem, last.index);
  }
  for (const { role, calls, prefix, content, index } of messages) {
    if (style !== 'chatml' && (role === 'tool' || calls.length > 0)) {
      throw new MessagesError('TokenizerException', `the format ${style} has no tools`, index);
    }
    if (prefix && index !== last.index) {
      const problem = 'only the last message can have prefix: true';
      throw new MessagesError('InvalidAssistantMessageException', problem, index);
    }
    if (role === 'assistant' && calls.length === 0 && content.length === 0) {
      const problem = 'an assistant message must have content or tool_calls';
      throw new MessagesError('InvalidAssistantMessageException', problem, index);
    }
  }
  if (style !== 'chatml' && tools.length > 0) {
    throw new MessagesError('TokenizerException', `the format ${style} has no tools`);
  }
}

function checkLearned({ role, prefix, index }: ReadMessage): void {
  if (role === 'assistant' && !prefix) return;
  const problem = 'an assistant message must be the last, and not to be continued';
  throw new MessagesError('InvalidMessageStructureException', problem, index);
}

/** Collects text until a control token comes, since text is encoded as one between two of them. */
class Writer {
  private readonly out: Segments;
  private pending = '';
  /** Places in `pending` whose place among the ids somebody wants. */
  private bounds: { readonly offset: number; readonly found: (place: number) => void }[] = [];
  private readonly controls: readonly string[];

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly form: Form,
  ) {
    this.out = new Segments(tokenizer, form.controls);
    this.controls = form.controls.filter((piece) => tokenizer.idOf(piece) !== undefined);
  }

  bos(): void {
    this.out.bos();
  }

  turn(before: string, text: string, end: string): void {
    this.frame(before);
    this.pending += text;
    this.frame(end);
  }

  answer(text: string, { prefix, index }: ReadMessage): void {
    const { assistant, answerEnd } = this.form;
    this.question();
    let start = 0;
    this.bound(this.pending.length, (place) => (start = place));
    // `ASSISTANT:` ends without the space that an answer begins with.
    this.pending += assistant.endsWith(':') ? ` ${text}` : text;
    if (!prefix) this.frame(answerEnd);
    // The lines between turns are not the model's.
    const between = prefix ? 0 : answerEnd.length - answerEnd.trimEnd().length;
    this.bound(this.pending.length - between, (end) => {
      this.out.answers.push({ start, end, index });
    });
  }

  private bound(offset: number, found: (place: number) => void): void {
    this.bounds.push({ offset, found });
  }

  question(): this {
    this.frame(this.form.assistant);
    return this;
  }

  finish(): EncodedConversation {
    this.flush();
    return this.out;
  }

  /** The format's own words, in which control tokens are. */
  private frame(words: string): void {
    const control = this.controls.find((piece) => words.includes(piece));
    if (control === undefined) {
      this.pending += words;
      return;
    }
    const at = words.indexOf(control);
    this.pending += words.slice(0, at);
    this.flush();
    this.out.control(control);
    this.frame(words.slice(at + control.length));
  }

  private flush(): void {
    const { ids } = this.out;
    const first = ids.length;
    this.out.text(this.pending);
    for (const { offset, found } of this.bounds) {
      // The ids that a text has in common with its beginning.
      const before = this.tokenizer.encode(this.pending.slice(0, offset));
      let shared = 0;
      while (shared < before.length && before[shared] === ids[first + shared]) shared++;
      found(offset === this.pending.length ? ids.length : first + shared);
    }
    this.bounds = [];
    this.pending = '';
  }
}

/** The system text by which Hermes 2 Pro learns of tools (NousResearch/Hermes-Function-Calling). */
function hermesTools(tools: readonly ReadTool[]): string {
  return (
    'You are a function calling AI model. You are provided with function signatures within ' +
    '<tools></tools> XML tags. You may call one or more functions to assist with the user query. ' +
    "Don't make assumptions about what values to plug into functions. Here are the available " +
    `tools: <tools> ${tools.map(({ json }) => json).join('\n')} </tools> ` +
    'For each function call return a JSON object with function name and arguments within ' +
    '<tool_call></tool_call> XML tags as follows:\n<tool_call>\n' +
    '{"name": <function-name>, "arguments": <args-dict>}\n</tool_call>'
  );
}

function hermesCall(call: Call, index: number): string {
  const values = callArguments(call, index);
  return `<tool_call>\n{"name": ${quote(call.name)}, "arguments": ${values}}\n</tool_call>`;
}

function hermesResult(text: string, name: string | undefined): string {
  const content = valueOf(text);
  const named = name === undefined ? content : `{"name": ${quote(name)}, "content": ${content}}`;
  return `<tool_response>\n${named}\n</tool_response>`;
}
