/**
 * @file What the adapter format of another tool is: how its files are recognised, read as what PEFT would have
 * written, and written. Knows no format.
 */
import type { Adapter } from "../adapters/adapter.ts";
import type { AdapterSource } from "../adapters/folder.ts";
import type { Base } from "../base/base.ts";

/** What files leave open. */
export interface ReadOptions {
  /** Scale of a LoRA times its rank, where the file does not hold it. */
  readonly alpha?: number | undefined;
}

/** An adapter of another tool whose files were opened and checked, but not yet held against a base. */
export interface ForeignAdapter {
  /** Outputs of the classifier that comes with it. */
  readonly labelCount: number | undefined;
  /** The adapter under PEFT's names. @throws DeltafitError where it says what PEFT's format cannot. */
  readonly toPeft: (base: Base, options: ReadOptions) => ConvertedAdapter;
}

export interface ConvertedAdapter {
  readonly source: AdapterSource;
  /** What was decided, or left behind: one sentence each. */
  readonly notes: readonly string[];
}

export interface ForeignFormat {
  /** One line of what the format is, for help texts. */
  readonly summary: string;
  /** Whether a file or folder looks like this format; looks at names and small configurations alone. */
  readonly recognises: (path: string) => boolean;
  /** @throws DeltafitError `file-missing`, `file-invalid`, `file-refused`, `config-invalid`. */
  readonly open: (path: string) => Promise<ForeignAdapter>;
  /**
   * Writes an adapter to `path`, whole or not at all; left out where the format is read only.
   * @throws DeltafitError `method-unsupported` for what the format has no place for.
   */
  readonly write?: ((path: string, adapter: Adapter, base: Base) => Promise<void>) | undefined;
}
