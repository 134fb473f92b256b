/** `tramontane chat`: a conversation in the terminal, or line by line through pipes. */
import { writeFile } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import { Command } from 'commander';
import { TEMPLATE_NAMES, type ChatTemplate } from '../chat/encode-chat';
import type { AdapterUse, Model } from '../index';
import { fitMessages, TramontaneError, type ChatResult, type Message } from '../index';
import { textOf } from './forms';
import {
  adapterOf,
  addAdapterOptions,
  addLoadOptions,
  addSamplingOptions,
  loadFlags,
  samplingFlags,
  type AdapterFlags,
  type LoadFlags,
  type SamplingFlags,
} from './options';
import { EMBEDDED_MODEL, load, modelArgument } from './session';
import { Spinner } from './spinner';

interface Flags extends LoadFlags, AdapterFlags, SamplingFlags {
  readonly system?: string;
  readonly chatTemplate?: string;
  readonly safePrompt?: true;
}

/** Room that is kept for an answer where a conversation has to be shortened. */
const LEAST_ANSWER = 256;

const HELP = `/save FILE   write the conversation, as JSON
/load FILE   go on with one
/clear       begin anew
/exit        leave (Ctrl-D does too)
A line that ends in \\ goes on in the next; """ begins and ends several lines.
Ctrl-C ends an answer.
`;

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('Holds a conversation. Piped into, it answers line by line.')
    .addArgument(modelArgument())
    .option('--system <text>', 'the system prompt')
    .option('--safe-prompt', "begin with Mistral's guarding system prompt")
    .option(
      '--chat-template <name>',
      `how the model writes conversations: ${TEMPLATE_NAMES.join(', ')}`,
    )
    .addHelpText(
      'after',
      `
In the conversation:
${HELP}
Examples:
  $ tramontane chat Mistral-7B-Instruct-v0.3.Q4_K_M.gguf --system "Be brief."
  $ echo "What is the mistral?" | tramontane chat mistral-7b-instruct.gguf`,
    )
    .action(chat);
  return addSamplingOptions(addAdapterOptions(addLoadOptions(command)));
}

async function chat(path: string | undefined, flags: Flags): Promise<void> {
  if (path === undefined) {
    process.stderr.write(
      'tramontane: the embedded model tells stories to children and knows nothing else; for ' +
        'conversations get Mistral-7B-Instruct-v0.3 (a GGUF file, such as Q4_K_M)\n',
    );
  }
  const options = {
    ...loadFlags(flags),
    ...(flags.chatTemplate !== undefined && { chatTemplate: flags.chatTemplate as ChatTemplate }),
  };
  const model = await load(path ?? EMBEDDED_MODEL, options);
  try {
    await new Conversation(model, flags, await adapterOf(model, flags)).run();
  } finally {
    await model.dispose();
  }
}

class Conversation {
  private messages: Message[] = [];
  private answer: { abort(): void } | undefined;
  private readonly isInteractive = process.stdin.isTTY && process.stdout.isTTY;

  constructor(
    private readonly model: Model,
    private readonly flags: Flags,
    private readonly use: AdapterUse,
  ) {
    this.clear();
    // Says what is missing before anybody has typed.
    model.chatTokens([...this.messages, { role: 'user', content: '' }]);
  }

  async run(): Promise<void> {
    const terminal = createInterface({
      input: process.stdin,
      output: this.isInteractive ? process.stdout : undefined,
      prompt: this.isInteractive ? '> ' : '',
      terminal: this.isInteractive,
    });
    const interrupt = (): void => {
      if (this.answer) this.answer.abort();
      else terminal.close();
    };
    terminal.on('SIGINT', interrupt);
    process.on('SIGINT', interrupt);
    try {
      await this.read(terminal);
    } finally {
      process.off('SIGINT', interrupt);
      terminal.close();
    }
  }

  private async read(terminal: Interface): Promise<void> {
    let pending: string[] = [];
    let isBlock = false;
    terminal.prompt();
    for await (const line of terminal) {
      if (line.trim() === '"""') {
        isBlock = !isBlock;
        if (isBlock) continue;
      } else if (isBlock || line.endsWith('\\')) {
        pending.push(isBlock ? line : line.slice(0, -1));
        continue;
      } else {
        pending.push(line);
      }
      const text = pending.join('\n');
      pending = [];
      if (text.trim() === '/exit') return;
      await this.handle(text);
      terminal.prompt();
    }
    if (pending.length > 0) await this.handle(pending.join('\n'));
  }

  private async handle(text: string): Promise<void> {
    if (text.trim() === '') return;
    const [word, ...rest] = text.trim().split(/\s+/);
    const file = rest.join(' ');
    try {
      if (word === '/help') process.stderr.write(HELP);
      else if (word === '/clear') this.clear();
      else if (word === '/save') await this.save(file);
      else if (word === '/load') await this.load(file);
      else await this.reply(text);
    } catch (error) {
      // A conversation goes on after what can be mended by another line.
      if (!this.isInteractive || !(error instanceof TramontaneError)) throw error;
      process.stderr.write(`tramontane: ${error.message}\n`);
    }
  }

  private clear(): void {
    const { system } = this.flags;
    this.messages = system === undefined ? [] : [{ role: 'system', content: system }];
  }

  private async save(file: string): Promise<void> {
    if (file === '') throw new TramontaneError('INVALID_OPTION', '/save needs the name of a file');
    try {
      await writeFile(file, `${JSON.stringify(this.messages, null, 2)}\n`);
    } catch (error) {
      const reason = (error as Error).message;
      throw new TramontaneError('FILE_NOT_WRITABLE', `cannot write ${file}: ${reason}`);
    }
  }

  private async load(file: string): Promise<void> {
    if (file === '') throw new TramontaneError('INVALID_OPTION', '/load needs the name of a file');
    const text = await textOf(file);
    let messages: Message[];
    try {
      messages = JSON.parse(text) as Message[];
    } catch (error) {
      const reason = (error as Error).message;
      throw new TramontaneError('INVALID_OPTION', `${file} is no JSON: ${reason}`);
    }
    this.model.chatTokens([...messages, { role: 'user', content: '' }]);
    this.messages = messages;
  }

  private async reply(text: string): Promise<void> {
    const asked: Message[] = [...this.messages, { role: 'user', content: text }];
    const messages = this.fitted(asked);
    const generation = this.model.chat(messages, {
      ...samplingFlags(this.flags),
      ...this.use,
      safePrompt: this.flags.safePrompt ?? false,
    });
    this.answer = generation;
    const spinner = new Spinner();
    try {
      let isFirst = true;
      for await (const chunk of generation) {
        spinner.stop();
        process.stdout.write(isFirst ? chunk.text.trimStart() : chunk.text);
        isFirst &&= chunk.text.trimStart() === '';
      }
    } finally {
      spinner.stop();
      this.answer = undefined;
    }
    process.stdout.write('\n');
    const result = await generation.result();
    // An answer of nothing could not be sent back to the model.
    this.messages = result.text.trim() === '' ? this.messages : [...messages, result.message];
    if (this.isInteractive) process.stderr.write(speedOf(result));
  }

  private fitted(messages: readonly Message[]): Message[] {
    const { contextSize } = this.model.info;
    const budget = contextSize - Math.min(LEAST_ANSWER, contextSize >> 1);
    const count = (some: readonly Message[]): number => this.model.chatTokens(some).length;
    const kept = fitMessages(messages, budget, count);
    const dropped = messages.length - kept.length;
    if (dropped > 0) {
      process.stderr.write(
        `tramontane: the conversation outgrew the context of ${contextSize} tokens; its ` +
          `${dropped} oldest messages were left out\n`,
      );
    }
    return kept;
  }
}

function speedOf({ usage, timings, finishReason }: ChatResult): string {
  const rate = ((usage.completionTokens - 1) / timings.generateMs) * 1000;
  const speed = usage.completionTokens > 1 ? `, ${rate.toFixed(1)} tokens/s` : '';
  const end = finishReason === 'stop' ? '' : ` (${finishReason})`;
  return `\n[${usage.completionTokens} tokens${speed}${end}]\n`;
}
