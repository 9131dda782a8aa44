/**
 * @file The one error class of deltafit and the closed list of its codes. It knows nothing of
 * files, graphs or models: whoever raises an error says what went wrong, where, what was expected,
 * what was found and what to do.
 */

/**
 * Every code an error of deltafit can carry. `docs/errors.md` has a paragraph for each.
 *
 * The kinds decide the command line's exit code: `usage` and `input` exit with 2, the others with 1.
 */
export const errorCodes = {
  /** A flag, option or call that cannot be meant as written. */
  "usage-invalid": "usage",
  /** A configuration file or object of the wrong form. */
  "config-invalid": "input",
  /** A file that is not there, or may not be read. */
  "file-missing": "input",
  /** A file whose content is broken or of another format than expected. */
  "file-invalid": "input",
  /** A format deltafit refuses for safety, such as pickle. */
  "file-refused": "input",
  /** A checkpoint whose tensors do not fit the architecture. */
  "checkpoint-mismatch": "input",
  /** An adapter that does not fit the base, or is incomplete. */
  "adapter-mismatch": "input",
  /** A `model_type` without an implementation. */
  "architecture-unknown": "input",
  /** A method that cannot do what is asked of it. */
  "method-unsupported": "input",
  /** A target that names no module of the model. */
  "target-unmatched": "input",
  /** A tokenizer that does not fit the model, or text it cannot encode. */
  "tokenizer-mismatch": "input",
  /** Data that is empty, malformed, or has labels out of range. */
  "data-invalid": "input",
  /** A hub model that cannot be fetched or found in the cache. */
  "hub-unavailable": "run",
  /** Writing failed: no space, no permission. */
  "write-failed": "run",
  /** The loss or a gradient is not a finite number. */
  "not-finite": "run",
  /** The run does not fit into memory. */
  "memory-exceeded": "run",
  /** The runtime refused a graph or failed while running it. */
  "runtime-failed": "run",
  /** The user stopped the run; what can be resumed was saved. */
  interrupted: "interrupt",
  /** A defect of deltafit itself. */
  internal: "run",
} as const;

export type ErrorCode = keyof typeof errorCodes;

const marker = Symbol.for("deltafit.error");

/** An error a user can act on: `message` says what, where, expected and found; `hint` says what to do. */
export class DeltafitError extends Error {
  override readonly name = "DeltafitError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, hint?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
    Object.defineProperty(this, marker, { value: true });
  }

  /** Recognises the errors of every installed copy of deltafit, where `instanceof` would not. */
  static isInstance(error: unknown): error is DeltafitError {
    return typeof error === "object" && error !== null && marker in error;
  }

  /** The process exit code that belongs to this error: 2 for wrong usage or input, 130 interrupted, else 1. */
  get exitCode(): 1 | 2 | 130 {
    const kind = errorCodes[this.code];
    if (kind === "interrupt") return 130;
    return kind === "run" ? 1 : 2;
  }
}

/** A defect of deltafit: a state that its own code promises cannot be reached. */
export function internalError(message: string): DeltafitError {
  return new DeltafitError(
    "internal",
    `internal: ${message}`,
    "This is a defect of deltafit; please report it.",
  );
}
