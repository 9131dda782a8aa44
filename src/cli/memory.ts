/** @file `deltafit memory`: what a run would need, from config.json alone, beside full fine-tuning. */
import { openShape } from "../base/base.ts";
import { savedBytes } from "../base/weight-storage.ts";
import type { BaseShape } from "../base/base.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { estimateMemory, fullFineTuning } from "../memory/estimate.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import { countParameters } from "../memory/parameter-counts.ts";
import { buildTrainingGraph } from "../tasks/graphs.ts";
import { partsOf } from "../training/objective.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { bindMethodsFromFlags } from "./methods.ts";
import { findModel } from "./model.ts";
import { machineFlags, methodFlags, modelFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Run:";

const flags = {
  ...modelFlags,
  task: withDefault(choice(taskNames), "Model:", "causal-lm", "what the model learns"),
  ...methodFlags,
  batchSize: withDefault(wholeNumber(1), group, 8, "rows of a batch"),
  sequenceLength: withDefault(wholeNumber(2), group, 512, "tokens of a row"),
  storage: machineFlags.storage,
  recompute: machineFlags.recompute,
} satisfies FlagTable;

type Values = FlagValues<typeof flags>;

export const memory = defineCommand({
  name: "memory",
  summary: "parameters and memory of a run, before it runs",
  example: "deltafit memory --model config.json --batch-size 4 --sequence-length 256",
  flags,
  run,
});

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  const { path } = await findModel(values.model, terminal);
  const { shape, assumed } = openShape({ path, task: values.task });
  if (Object.keys(assumed).length > 0) terminal.warn(describeAssumed(assumed, shape));
  const own = figuresOf(shape, bindMethodsFromFlags(shape, values.method, values), values);
  const full = figuresOf(shape, [{ name: "full", method: fullFineTuning(shape.modules) }], values);
  const name = values.method.join("+");
  return {
    json: { ...own, fullFineTuning: full },
    text: [
      `${shape.model.modelType}, ${name}, ${values.batchSize} rows of ${values.sequenceLength} tokens`,
      "",
      table([
        ["", name, "full"],
        ["trained parameters", count(own.trainableParameters), count(full.trainableParameters)],
        ["  of the task's head", count(own.headParameters), count(full.headParameters)],
        ["all parameters", count(own.totalParameters), count(full.totalParameters)],
        ["trained, on disk", megabytes(own.adapterBytes), megabytes(full.adapterBytes)],
        ...categories.map(([name, key]) => [name, megabytes(own.bytes[key]), megabytes(full.bytes[key])]),
      ]),
    ].join("\n"),
  };
}

interface NamedMethod {
  readonly name: string;
  readonly method: BoundMethod;
}

function describeAssumed(assumed: Readonly<Record<string, number>>, { model }: BaseShape): string {
  const sizes = Object.entries(assumed).map(([name, size]) => `${name} ${size}`);
  return `config.json leaves out sizes; as transformers has them for ${model.modelType}: ${sizes.join(", ")}`;
}

const categories: readonly (readonly [string, keyof MemoryBytes])[] = [
  ["memory: weights", "weights"],
  ["  gradients", "gradients"],
  ["  optimizer", "optimizer"],
  ["  activations", "activations"],
  ["  workspace", "workspace"],
  ["  in all", "total"],
];

function figuresOf({ model, modules, settings }: BaseShape, methods: readonly NamedMethod[], values: Values) {
  const { batchSize, sequenceLength, recompute, storage = "float32" } = values;
  const parts = partsOf(model, sequenceLength, batchSize);
  const { graph } = buildTrainingGraph({
    model,
    settings,
    adapters: methods.map((method) => ({ ...method, trainable: true })),
    padding: !model.causal,
    recompute,
    ...parts,
  });
  const method = { parameters: methods.flatMap((each) => each.method.parameters) };
  const counts = countParameters(modules, method);
  const { trainableParameters, headParameters, totalParameters } = counts;
  return {
    totalParameters,
    trainableParameters,
    headParameters,
    adapterBytes: (trainableParameters + headParameters) * Float32Array.BYTES_PER_ELEMENT,
    bytes: estimateMemory({
      ...{ modules, method, graph, batchSize, length: sequenceLength, ...parts },
      savedBytes: savedBytes(modules, storage, new Set(method.parameters.map(({ key }) => key))),
    }),
  };
}

const count = (value: number): string => value.toLocaleString("en-US");
const megabytes = (bytes: number): string => `${count(Math.round(bytes / 1e5) / 10)} MB`;

/** Columns aligned: the first to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return rows
    .map((cells) =>
      cells
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart((widths[column] ?? 0) + 2),
        )
        .join("")
        .trimEnd(),
    )
    .join("\n");
}
