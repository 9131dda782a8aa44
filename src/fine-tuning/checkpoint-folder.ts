/** @file Where a run keeps its checkpoints. */
import { join } from "node:path";

/** Folder of checkpoints in the output folder: "last" to resume from, "best" by the evaluation. */
export const checkpointFolder = (out: string, kind: "last" | "best"): string =>
  join(out, "checkpoints", kind);
