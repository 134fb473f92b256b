/** What a chat needs beside a generation: the model's format, its tools, and how answers are held. */
import { randomBytes } from 'node:crypto';
import { MessagesError, TramontaneError } from '../errors';
import { callRules, HERMES_START, type CallSyntax, type ToolChoice } from '../chat/call-grammar';
import { chooseTemplate, type ChosenTemplate } from '../chat/choose-template';
import { encodeChat, encodeLearnedChat, type ChatTemplate } from '../chat/encode-chat';
import type { Message, Tool } from '../chat/messages';
import { withSafePrompt } from '../chat/safe-prompt';
import { readTools } from '../chat/tools';
import { isStyle, stopsOf } from '../chat/styles';
import { callIds, ToolCallReader } from '../chat/tool-calls';
import type { Checkpoint } from '../files/checkpoint';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { TrainingMessage } from '../train/samples';
import * as check from './checks';
import type { GenerateOptions } from './generate-options';
import { CompiledGrammar, grammarOf, plainSchema } from './grammar';
import type { GuardOptions } from './guard';
import type { ModelInfo } from './model-info';
import { isStandardSchema, type Schema, type StandardSchema } from './schema';

/** A tool whose parameters may be a schema of a library. */
export interface ChatTool {
  readonly type?: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** JSON Schema, or a schema of a library, of the arguments. */
    readonly parameters?: object | StandardSchema;
  };
}

/** What shapes the prompt of a chat. */
export interface ChatPromptOptions {
  /** Functions the model may call. */
  tools?: readonly ChatTool[] | undefined;
  /**
   * A guarding system prompt before all others: true for Mistral's own, or a text.
   * @default false
   */
  safePrompt?: boolean | string | undefined;
}

/** Options of {@link Model.chat}: those of generate(), and of conversations. */
export interface ChatOptions<S extends Schema = Schema>
  extends GenerateOptions<S>, ChatPromptOptions {
  /**
   * `auto`: the model answers or calls tools. `none`: it answers. `required`: it calls; a name: that
   * tool. Names and arguments of calls are held to the tools by a grammar.
   * @default 'auto'
   */
  toolChoice?: ToolChoice | undefined;
  /**
   * Has the model judge the conversation, or the answer as it comes, by a policy. What it refuses is
   * not given out: finishReason is `refused`, and the result's `refusal` says why.
   */
  guard?: GuardOptions | undefined;
  /** Whether an answer may have more than one call. @default true */
  parallelToolCalls?: boolean | undefined;
}

const PROMPT_NAMES = ['tools', 'safePrompt'] as const;
const NAMES = [...PROMPT_NAMES, 'toolChoice', 'parallelToolCalls', 'guard'] as const;

/** A model's way to hold conversations. */
export class ChatFormat {
  readonly #checkpoint: Checkpoint;
  readonly #tokenizer: Tokenizer;
  readonly #override: ChatTemplate | undefined;
  /** Found when it is first asked for: most of a vocabulary is looked at, which loading need not do. */
  #found: { readonly chosen: ChosenTemplate | undefined } | undefined;

  constructor(checkpoint: Checkpoint, tokenizer: Tokenizer, override: ChatTemplate | undefined) {
    this.#checkpoint = checkpoint;
    this.#tokenizer = tokenizer;
    this.#override = override;
  }

  /** What ModelInfo has of it; undefined for a model without one. */
  get info(): ModelInfo['chat'] {
    const chosen = this.#chosen();
    if (chosen === undefined) return undefined;
    const { template, source } = chosen;
    const tools = this.#syntax(template) !== undefined;
    return { name: nameOf(template), source, tools };
  }

  encode(messages: readonly Message[], options: ChatPromptOptions): number[] {
    const { tools = [], safePrompt = false } = options;
    if (typeof safePrompt !== 'string') check.boolean('safePrompt', safePrompt);
    return encodeChat(this.#tokenizer, this.#template(), {
      messages: withSafePrompt(messages, safePrompt),
      tools: plainTools(tools),
    });
  }

  /**
   * The ids of a conversation that is learned, and the ranges of them that the assistant wrote,
   * without those of its messages of weight 0.
   * @throws TramontaneError INVALID_OPTION; MessagesError
   */
  encodeTraining(
    messages: readonly TrainingMessage[],
    tools: readonly Tool[],
  ): { readonly ids: readonly number[]; readonly learned: readonly (readonly [number, number])[] } {
    const { ids, answers } = encodeLearnedChat(this.#tokenizer, this.#template(), {
      messages,
      tools: plainTools(tools),
    });
    const weights = messages.map((message, index) => weightOf(message, index));
    messages.forEach(({ role }, index) => {
      const isJoined = role === 'assistant' && messages[index - 1]?.role === 'assistant';
      if (!isJoined || weights[index] === weights[index - 1]) return;
      const problem =
        'its weight differs from that of the answer before, with which it is one turn';
      throw new MessagesError('ValidationError', problem, index);
    });
    const learned = answers
      .filter(({ index }) => weights[index] !== 0)
      .map(({ start, end }) => [start, end] as const);
    return { ids, learned };
  }

  /** What ends an answer in this format beside the model's end tokens. */
  get stops(): readonly string[] {
    const template = this.#template();
    return isStyle(template) ? stopsOf(template) : [];
  }

  /**
   * How an answer is held and read, where tools are offered.
   * @throws TramontaneError INVALID_OPTION; MessagesError; GrammarError
   */
  tools(
    options: ChatOptions,
  ): { readonly grammar: CompiledGrammar; readonly calls: ToolCallReader } | undefined {
    const { tools = [], toolChoice = 'auto', parallelToolCalls = true } = options;
    check.boolean('parallelToolCalls', parallelToolCalls);
    checkToolChoice(toolChoice);
    if (tools.length === 0 && toolChoice !== 'auto' && toolChoice !== 'none') {
      throw new TramontaneError(
        'INVALID_OPTION',
        'toolChoice wants a call, but there are no tools',
      );
    }
    if (tools.length === 0 || toolChoice === 'none') return undefined;
    const offered = plainTools(tools);
    readTools(offered);
    const answer = grammarOf(options);
    if (answer !== undefined && toolChoice !== 'auto') {
      const message = 'json, regex, choice and grammar are of answers, but toolChoice wants a call';
      throw new TramontaneError('INVALID_OPTION', message);
    }
    const template = this.#template();
    const syntax = this.#syntax(template);
    if (syntax === undefined) {
      const message = `tools: the chat format ${nameOf(template)} has none; those of mistral-v3 and chatml do`;
      throw new TramontaneError('INVALID_OPTION', message);
    }
    const rules = callRules(syntax, offered, toolChoice, parallelToolCalls, answer?.rules);
    const start = syntax.kind === 'mistral' ? { token: syntax.token } : { text: HERMES_START };
    return {
      grammar: new CompiledGrammar(rules),
      calls: new ToolCallReader({ start }, callIds(randomBytes)),
    };
  }

  /** How calls are written; undefined for a format that has none. */
  #syntax(template: ChatTemplate): CallSyntax | undefined {
    if (template === 'chatml') return { kind: 'hermes' };
    const token = this.#tokenizer.idOf('[TOOL_CALLS]');
    if (token === undefined || template === 'mistral-v1' || isStyle(template)) return undefined;
    return { kind: 'mistral', token, hasIds: template !== 'mistral-v2' };
  }

  #chosen(): ChosenTemplate | undefined {
    this.#found ??= {
      chosen:
        this.#override === undefined
          ? chooseTemplate(this.#tokenizer, this.#checkpoint.chatTemplate)
          : { template: this.#override, source: 'option' },
    };
    return this.#found.chosen;
  }

  #template(): ChatTemplate {
    const chosen = this.#chosen();
    if (chosen !== undefined) return chosen.template;
    throw new TramontaneError(
      'INVALID_OPTION',
      'the model has no chat format: it continues text, use generate(); or load an Instruct model ' +
        "(Mistral-7B-Instruct-v0.3), or name the format by the option chatTemplate: 'mistral-v3'",
    );
  }
}

function nameOf(template: ChatTemplate): string {
  return typeof template === 'string' ? template : 'jinja';
}

/** Of a message that is learned: 1 where it does not say. */
function weightOf(message: TrainingMessage, index: number): number {
  const { role } = message;
  const weight: number = message.weight ?? 1;
  if (weight === 1 || (weight === 0 && role === 'assistant')) return weight;
  const problem = "weight must be 0 or 1, and is of an assistant's messages";
  throw new MessagesError('ValidationError', problem, index);
}

function checkToolChoice(value: unknown): void {
  if (value === 'auto' || value === 'none' || value === 'required') return;
  if (typeof (Object(value) as { name?: unknown }).name === 'string') return;
  throw check.invalidOption('toolChoice', 'auto, none, required or { name }', value);
}

function plainTools(tools: readonly ChatTool[]): Tool[] {
  if (!Array.isArray(tools)) throw check.invalidOption('tools', 'an array of tools', tools);
  return (tools as readonly ChatTool[]).map((tool) => {
    const called = Object(tool).function as ChatTool['function'] | undefined; // eslint-disable-line @typescript-eslint/no-unsafe-member-access
    if (!isStandardSchema(called?.parameters)) return tool;
    const parameters = plainSchema(called.parameters) as object;
    return { ...tool, function: { ...called, parameters } };
  });
}

/** The options of chat() that are generate()'s; unknown ones are left for that to refuse. */
export function generateOptionsOf(options: ChatOptions): GenerateOptions {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw check.invalidOption('the options of chat()', 'an object', options);
  }
  const rest: Record<string, unknown> = { ...options };
  for (const name of NAMES) delete rest[name]; // eslint-disable-line @typescript-eslint/no-dynamic-delete
  return rest;
}

export function checkPromptOptions(options: ChatPromptOptions): void {
  check.checkNames('chatTokens()', options, PROMPT_NAMES);
}
