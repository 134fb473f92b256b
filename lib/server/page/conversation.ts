import type { ChatMessage } from './api';
import { isRecord, Stored, textOf } from './storage';

/** How an answer ended; `running` ones were cut off by a reload. */
const OUTCOMES = ['running', 'stop', 'length', 'stopped', 'failed'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Figures {
  readonly promptTokens: number | undefined;
  readonly tokens: number;
  /** False: counted in chunks, for the server did not say. */
  readonly exact: boolean;
  readonly firstSeconds: number;
  /** From the first token to the last. */
  readonly seconds: number;
}

export interface UserMessage {
  readonly role: 'user';
  readonly content: string;
}

export interface Answer {
  readonly role: 'assistant';
  content: string;
  readonly model: string;
  readonly json: boolean;
  outcome: Outcome;
  figures: Figures | undefined;
}

export type Message = UserMessage | Answer;

/** The messages, kept over reloads. */
export class Conversation {
  private readonly stored = new Stored('localStorage', 'conversation', messagesOf);
  readonly messages = this.stored.read();

  /** False where the browser has no room for it. */
  save(): boolean {
    return this.stored.write(this.messages);
  }

  replace(messages: readonly Message[]): void {
    this.messages.splice(0, this.messages.length, ...messages);
    this.save();
  }

  /** As the server takes them. */
  request(system: string): ChatMessage[] {
    const messages = this.messages
      .filter(({ content }) => content !== '')
      .map(({ role, content }) => ({ role, content }));
    return system.trim() === '' ? messages : [{ role: 'system', content: system }, ...messages];
  }
}

function messagesOf(value: unknown): Message[] {
  return Array.isArray(value) ? value.filter(isRecord).flatMap(messageOf) : [];
}

function messageOf(value: Readonly<Record<string, unknown>>): Message[] {
  const content = textOf(value['content']);
  if (value['role'] === 'user') return [{ role: 'user', content }];
  if (value['role'] !== 'assistant') return [];
  const outcome = OUTCOMES.find((name) => name === value['outcome']) ?? 'stop';
  return [
    {
      role: 'assistant',
      content,
      model: textOf(value['model']),
      json: value['json'] === true,
      outcome: outcome === 'running' ? 'failed' : outcome,
      figures: figuresOf(value['figures']),
    },
  ];
}

function figuresOf(value: unknown): Figures | undefined {
  if (!isRecord(value)) return undefined;
  const number = (name: string) => (typeof value[name] === 'number' ? value[name] : undefined);
  return {
    promptTokens: number('promptTokens'),
    tokens: number('tokens') ?? 0,
    exact: value['exact'] === true,
    firstSeconds: number('firstSeconds') ?? 0,
    seconds: number('seconds') ?? 0,
  };
}
