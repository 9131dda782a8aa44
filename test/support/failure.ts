/**
 * @file What a test compares of an error: its code, its whole text and its hint, with changing folders taken out.
 */
import { DeltafitError } from "../../src/errors.ts";

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

function describe(error: unknown, folder: string): Failure {
  if (!DeltafitError.isInstance(error)) throw error;
  const shorten = (text: string): string => (folder === "" ? text : text.replaceAll(folder, "FOLDER"));
  return { code: error.code, message: shorten(error.message), hint: error.hint };
}

/** The `DeltafitError` that `call` throws. */
export function failureOf(call: () => unknown, folder = ""): Failure {
  try {
    call();
  } catch (error) {
    return describe(error, folder);
  }
  throw new Error("Expected an error, but the call succeeded.");
}

/** The `DeltafitError` that `call` rejects with. */
export async function rejectionOf(call: () => Promise<unknown>, folder = ""): Promise<Failure> {
  try {
    await call();
  } catch (error) {
    return describe(error, folder);
  }
  throw new Error("Expected an error, but the call succeeded.");
}
