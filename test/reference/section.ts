/** @file What the runner knows of a section: named cases with a check each. Knows no section and prints nothing. */
import { DeltafitError } from "../../src/errors.ts";
import type { ErrorCode } from "../../src/errors.ts";

/** Where the cases lie, and a folder for files that checks write. */
export interface ReferenceFolders {
  readonly root: string;
  readonly scratch: string;
}

/** One case: passes where `check` returns, is skipped on a `CaseSkipped`, and fails on anything else thrown. */
export interface ReferenceCase {
  /** Section and name: "models/gpt2". */
  readonly name: string;
  readonly check: () => void | Promise<void>;
}

/** The cases of a section that are there. */
export type ReferenceSection = (folders: ReferenceFolders) => readonly ReferenceCase[];

/** A case that deltafit cannot run yet; the message is the reason. */
export class CaseSkipped extends Error {}

/** Runs `attempt`, and skips the case where it throws an error of deltafit with one of these codes. */
export async function skipOn<Result>(
  codes: readonly ErrorCode[],
  attempt: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await attempt();
  } catch (error) {
    if (DeltafitError.isInstance(error) && codes.includes(error.code)) throw new CaseSkipped(error.message);
    throw error;
  }
}
