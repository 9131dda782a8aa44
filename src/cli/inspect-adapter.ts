/** @file What an adapter folder holds, for `deltafit inspect`. */
import { inspectAdapter } from "../adapters/inspect.ts";
import type { CommandResult } from "./command.ts";
import { describeProblems, describeTensors } from "./inspect-text.ts";
import { readTrainingNotes } from "./training-notes.ts";

export function inspectAdapterFolder(folder: string): CommandResult {
  const found = inspectAdapter(folder);
  const notes = readTrainingNotes(folder);
  const { methodType, taskType, baseModel, parameters, bytes, tensors, problems } = found;
  const labels = notes?.labels ?? undefined;
  return {
    json: { kind: "adapter", ...found, notes: notes ?? null },
    text: [
      `adapter: method ${methodType ?? "unknown"}, task ${notes?.task ?? taskType ?? "not said"}`,
      `base: ${baseModel ?? "not said"}`,
      ...(labels === undefined ? [] : [`labels: ${labels.join(", ")}`]),
      `${parameters} parameters in ${tensors.length} tensors, ${bytes} bytes`,
      ...describeTensors(tensors),
      ...describeProblems(problems),
    ].join("\n"),
  };
}
