/** What went wrong, for programs. The message says it for people, and what to do about it. */
export type TramontaneErrorCode =
  /** An option or argument is unknown, of the wrong type or out of range. The message names it. */
  | 'INVALID_OPTION'
  /** A prompt is empty, too long for the context or the cache, or holds a token that does not exist. */
  | 'INVALID_PROMPT'
  /** A file or directory is missing or cannot be read. */
  | 'FILE_NOT_READABLE'
  /** A file that an option asks for cannot be written. */
  | 'FILE_NOT_WRITABLE'
  /** A download did not succeed: the network, the server, or bytes that came damaged. */
  | 'DOWNLOAD_FAILED'
  /** A repository of the hub is gated, or a token is wrong. The message says where to ask. */
  | 'ACCESS_DENIED'
  /** A file breaks its format's rules. The message names file, tensor or key, and offset. */
  | 'INVALID_FILE'
  /** A well-formed file of a kind that is not supported. The message names what was found and what is supported. */
  | 'UNSUPPORTED_FILE'
  /** A conversation breaks its format's rules: {@link MessagesError} says which message and why. */
  | 'INVALID_MESSAGES'
  /** A schema, regular expression or grammar is wrong or not supported: {@link GrammarError} says where. */
  | 'INVALID_GRAMMAR'
  /** What was generated is not whole, so that it is no JSON yet: {@link OutputError} has the text. */
  | 'INCOMPLETE_OUTPUT'
  /** What was generated is not what the schema's own validation wants. */
  | 'INVALID_OUTPUT'
  /** Memory or threads could not be had. */
  | 'OUT_OF_MEMORY'
  /** As many requests wait as may: try again later. */
  | 'QUEUE_FULL'
  /** The model was disposed. */
  | 'DISPOSED'
  /** The backend that was asked for cannot be used here. The message says why and what to do. */
  | 'BACKEND_UNAVAILABLE'
  /** A computation went wrong: logits that are not finite, a file that changed under the model. */
  | 'COMPUTE_FAILED'
  /** The native addon is missing or does not fit this package. The message has the command to rebuild it. */
  | 'NATIVE_UNAVAILABLE';

/** What this package throws or rejects with: this class, or one of those below. */
export class TramontaneError extends Error {
  override readonly name = 'TramontaneError';
  readonly code: TramontaneErrorCode;

  constructor(code: TramontaneErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A schema, regular expression or grammar that cannot be used. */
export class GrammarError extends TramontaneError {
  /** Where, in a schema: a JSON pointer, `/properties/age/minimum`; empty for the whole. */
  readonly pointer: string;
  /** The schema's keyword, or the construct of the expression or grammar, that is to blame. */
  readonly keyword: string;

  constructor(message: string, place: { readonly pointer?: string; readonly keyword: string }) {
    super('INVALID_GRAMMAR', message);
    this.pointer = place.pointer ?? '';
    this.keyword = place.keyword;
  }
}

/** A conversation, or its tools, that cannot be encoded. */
export class MessagesError extends TramontaneError {
  /**
   * The rule that was broken, by the name mistral-common gives such an error:
   * `InvalidMessageStructureException`, `InvalidFunctionCallException`, `ValidationError`, ...
   */
  readonly kind: string;
  /** Index of the message to blame, where one is. */
  readonly index: number | undefined;

  constructor(kind: string, message: string, index?: number) {
    super(
      'INVALID_MESSAGES',
      index === undefined ? message : `messages[${String(index)}]: ${message}`,
    );
    this.kind = kind;
    this.index = index;
  }
}

/** A generation's text that is not the JSON that was asked for. */
export class OutputError extends TramontaneError {
  /** The text as far as it was generated. */
  readonly text: string;

  constructor(
    code: 'INCOMPLETE_OUTPUT' | 'INVALID_OUTPUT',
    message: string,
    text: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.text = text;
  }
}
