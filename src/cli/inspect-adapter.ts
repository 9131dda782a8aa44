/** @file What an adapter folder holds, for `deltafit inspect`. */
import { inspectAdapter } from "../adapters/inspect.ts";
import { readStack } from "../adapters/stack.ts";
import type { CommandResult } from "./command.ts";
import { describeProblems, describeTensors } from "./inspect-text.ts";
import { readTrainingNotes } from "./training-notes.ts";

/** The adapters of a stack in the order in which they act. */
export function inspectStackFolder(folder: string): CommandResult {
  const entries = readStack(folder) ?? [];
  const notes = readTrainingNotes(folder);
  const found = entries.map((entry) => ({ ...entry, inspection: inspectAdapter(entry.folder) }));
  const parameters = found.reduce((sum, { inspection }) => sum + inspection.parameters, 0);
  const problems = found.flatMap(({ inspection }) => inspection.problems);
  return {
    json: {
      kind: "stack",
      folder,
      adapters: found.map(({ name, frozen, inspection }) => ({ name, frozen, ...inspection })),
      parameters,
      problems,
      notes: notes ?? null,
    },
    text: [
      `stack of ${found.length} adapters, task ${notes?.task ?? "not said"}; the first is nearest to the base`,
      `base: ${found[0]?.inspection.baseModel ?? "not said"}`,
      ...found.map(
        ({ name, frozen, inspection: { methodType, parameters: own, tensors } }) =>
          `  ${name}${frozen ? " (frozen)" : ""}: method ${methodType ?? "unknown"}, ${own} parameters in ${tensors.length} tensors`,
      ),
      ...describeProblems(problems),
    ].join("\n"),
  };
}

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
