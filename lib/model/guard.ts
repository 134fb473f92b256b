/** Conversations whose questions and answers the model judges by a policy. */
import * as check from './checks';
import type {
  ChatResult,
  Generation,
  GenerationChunk,
  GenerationState,
  Refusal,
} from './generation';
import type { ModerationOptions, ModerationResult } from './moderation';
import { jsonOf } from './output';
import { OneReader, type ReaderSource } from './reader';

/** By which policy. The rest of {@link ModerationOptions} is the chat's. */
export type GuardSide = Pick<ModerationOptions, 'policy'>;

/** What is judged: true by the default policy of {@link Model.moderate}. */
export interface GuardOptions {
  /** The conversation, before anything is generated: what a policy refuses gets no answer. */
  readonly input?: boolean | GuardSide | undefined;
  /** The answer, sentence by sentence before each is given out: it is cut at the first refused. */
  readonly output?: boolean | GuardSide | undefined;
}

/** How a guarded chat comes by its parts. */
export interface GuardedParts<T> {
  /** The whole conversation. */
  readonly judgeInput: (() => Promise<ModerationResult>) | undefined;
  readonly judgeOutput: ((sentence: string) => Promise<ModerationResult>) | undefined;
  readonly start: () => Generation<T, ChatResult<T>>;
  readonly seed: number;
}

/** The options of one side; undefined where it is not guarded. */
export function guardSide(name: 'input' | 'output', guard: GuardOptions): GuardSide | undefined {
  check.checkNames('guard', guard, ['input', 'output']);
  const side = guard[name];
  if (side === undefined || side === false) return undefined;
  if (side === true) return {};
  check.checkNames(`guard.${name}`, side, ['policy']);
  return side;
}

/** The end of a sentence, or of a line. */
const SENTENCE_END = /[.!?…。！？]["'”’)\]]*\s*$|\n\s*$/;

function refusalOf(by: Refusal['by'], { categories, category_scores }: ModerationResult): Refusal {
  const labels = Object.keys(categories).filter((label) => categories[label]);
  return { by, labels, scores: category_scores };
}

function refused<T>(result: Omit<ChatResult<T>, 'json'>): ChatResult<T> {
  const { text } = result;
  return Object.defineProperty({ ...result }, 'json', {
    value: () => jsonOf(text, { whole: false, finishReason: 'refused', schema: undefined }),
  }) as ChatResult<T>;
}

const REFUSED: GenerationChunk = { text: '', tokenIds: [], finishReason: 'refused' };

/** A chat that is judged. It is read as any generation; it runs no further than it is read. */
export class GuardedGeneration<T> implements Generation<T, ChatResult<T>>, ReaderSource {
  readonly #parts: GuardedParts<T>;
  readonly #ended: Promise<ChatResult<T>>;
  readonly #chunks: GenerationChunk[] = [];
  #generation: Generation<T, ChatResult<T>> | undefined;
  readonly #reader = new OneReader(this);
  #wake: () => void = () => undefined;
  #whole = false;
  #aborted = false;
  #outcome: { readonly result: ChatResult<T> } | { readonly error: unknown } | undefined;

  constructor(parts: GuardedParts<T>) {
    this.#parts = parts;
    this.#ended = this.#run();
    this.#ended.catch(() => undefined);
  }

  async text(): Promise<string> {
    return (await this.result()).text;
  }

  result(): Promise<ChatResult<T>> {
    this.#whole = true;
    this.#wake();
    return this.#ended;
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerationChunk, undefined> {
    return this.#reader.open((chunk) => chunk);
  }

  textStream(): AsyncIterable<string> {
    return this.#reader.texts();
  }

  abort(): void {
    this.#aborted = true;
    this.#generation?.abort();
    this.#wake();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }

  async leave(): Promise<void> {
    this.abort();
    await this.#ended.catch(() => undefined);
  }

  toJSON(): GenerationState {
    const inner = this.#generation?.toJSON() ?? { promptTokens: 0, completionTokens: 0 };
    if (this.#outcome === undefined) return { ...inner, state: 'running' };
    if ('error' in this.#outcome) return { ...inner, state: 'failed' };
    return { ...inner, state: 'ended', finishReason: this.#outcome.result.finishReason };
  }

  deliver(): void {
    this.#reader.deliver(this.#chunks, this.#outcome);
    this.#wake();
  }

  async #run(): Promise<ChatResult<T>> {
    const steps = this.#steps();
    try {
      for (;;) {
        await this.#wanted();
        const step = await steps.next();
        if (step.done === true) {
          this.#outcome = { result: step.value };
          return step.value;
        }
        this.#chunks.push(step.value);
        this.deliver();
      }
    } catch (error) {
      this.#outcome = { error };
      throw error;
    } finally {
      this.deliver();
    }
  }

  /** Somebody waits for more. */
  async #wanted(): Promise<void> {
    while (!this.#whole && !this.#aborted && !this.#reader.waits) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async *#steps(): AsyncGenerator<GenerationChunk, ChatResult<T>> {
    const { judgeInput, judgeOutput, start, seed } = this.#parts;
    const judged = this.#aborted ? undefined : await judgeInput?.();
    if (judged?.flagged === true) {
      yield REFUSED;
      return refused<T>({
        text: '',
        tokenIds: [],
        finishReason: 'refused',
        seed,
        usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
        timings: { queuedMs: 0, promptMs: 0, generateMs: 0 },
        message: { role: 'assistant', content: '' },
        refusal: refusalOf('input', judged),
      });
    }
    const generation = start();
    this.#generation = generation;
    if (this.#aborted) generation.abort();
    let passed = '';
    let sentence = '';
    const held: GenerationChunk[] = [];
    for await (const chunk of generation) {
      held.push(chunk);
      sentence += chunk.text;
      const isLast = chunk.finishReason !== undefined;
      if (judgeOutput !== undefined && !isLast && !SENTENCE_END.test(sentence)) continue;
      const found = sentence.trim() === '' ? undefined : await judgeOutput?.(sentence);
      if (found?.flagged === true) {
        generation.abort();
        const result = await generation.result();
        yield REFUSED;
        return refused<T>({
          ...result,
          text: passed,
          finishReason: 'refused',
          message: { role: 'assistant', content: passed },
          refusal: { ...refusalOf('output', found), text: sentence },
        });
      }
      passed += sentence;
      sentence = '';
      yield* held.splice(0);
    }
    return generation.result();
  }
}
