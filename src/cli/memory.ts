/** @file `deltafit memory`: what a run would need, from config.json alone, beside full fine-tuning. */
import { writtenBytes } from "../adapters/condense.ts";
import { openShape } from "../base/base.ts";
import type { BaseShape } from "../base/base.ts";
import { storableMatrices } from "../base/weight-storage.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { decideRecompute } from "../fine-tuning/run-memory.ts";
import { fullFineTuning } from "../memory/estimate.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import { countParameters } from "../memory/parameter-counts.ts";
import { availableMemoryBytes } from "../runtime/available-memory.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { bindMethodsFromFlags } from "./methods.ts";
import { describeBytes } from "./memory-text.ts";
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
  accumulate: withDefault(wholeNumber(1), group, 1, "batches of an update"),
  storage: machineFlags.storage,
  compute: machineFlags.compute,
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
  const availableBytes = availableMemoryBytes();
  const adapters = bindMethodsFromFlags(shape, values.method, values);
  const { storage = "float32" } = values;
  const kept = new Set(storableMatrices(shape.modules, storage, shape.tableType).map(({ stored }) => stored));
  const keepsChanges = ({ baseChanges = [] }: BoundMethod) =>
    baseChanges.some(({ stored }) => kept.has(stored));
  const adapterBytes = adapters.reduce(
    (sum, each) => sum + writtenBytes(each, shape, keepsChanges(each.method)),
    0,
  );
  const own = figuresOf(shape, adapters, { ...values, availableBytes, adapterBytes });
  const fullMethod = { name: "full", method: fullFineTuning(shape.modules) };
  const full = figuresOf(shape, [fullMethod], { ...values, recompute: own.recompute, availableBytes });
  const name = values.method.join("+");
  return {
    json: { ...own, availableBytes, fits: fittingDevices(own.bytes), fullFineTuning: full },
    text: [
      `${shape.model.modelType}, ${name}, ${values.batchSize} rows of ${values.sequenceLength} tokens`,
      "",
      table([
        ["", name, "full"],
        ["trained parameters", count(own.trainableParameters), count(full.trainableParameters)],
        ["  of the task's head", count(own.headParameters), count(full.headParameters)],
        ["all parameters", count(own.totalParameters), count(full.totalParameters)],
        ["written to disk", describeBytes(own.adapterBytes), describeBytes(full.adapterBytes)],
        ...categories.map(([label, key]) => [
          label,
          describeBytes(own.bytes[key]),
          describeBytes(full.bytes[key]),
        ]),
        ...devices.map(({ label, bytes }, index) => [
          `${index === 0 ? "fits into " : "          "}${label}`,
          ...[own, full].map((figures) => (figures.bytes.total <= bytes ? "yes" : "no")),
        ]),
        [
          `  ${describeBytes(availableBytes)} available here`,
          ...[own, full].map((figures) => (figures.bytes.total <= availableBytes ? "yes" : "no")),
        ],
      ]),
    ].join("\n"),
  };
}

/** Memory of common machines; of a laptop's, a quarter is left to the system and other programs. */
const devices = [
  { name: "laptop-8", label: "a laptop of 8 GB", bytes: 0.75 * 8 * 2 ** 30 },
  { name: "laptop-16", label: "a laptop of 16 GB", bytes: 0.75 * 16 * 2 ** 30 },
  { name: "laptop-32", label: "a laptop of 32 GB", bytes: 0.75 * 32 * 2 ** 30 },
  { name: "gpu-24", label: "a GPU of 24 GB", bytes: 24 * 2 ** 30 },
  { name: "gpu-80", label: "a GPU of 80 GB", bytes: 80 * 2 ** 30 },
] as const;

const fittingDevices = ({ total }: MemoryBytes): readonly string[] =>
  devices.filter(({ bytes }) => total <= bytes).map(({ name }) => name);

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

function figuresOf(
  shape: BaseShape,
  methods: readonly NamedMethod[],
  values: Values & { readonly availableBytes: number; readonly adapterBytes?: number },
) {
  const { storage = "float32" } = values;
  const method = { parameters: methods.flatMap((each) => each.method.parameters) };
  const counts = countParameters(shape.modules, method);
  const { trainableParameters, headParameters, totalParameters } = counts;
  const adapters = methods.map((each) => ({ ...each, trainable: true }));
  const described = { ...values, ...shape, adapters, storage };
  const { run: decided, bytes } = decideRecompute(described, values.recompute, values.availableBytes);
  return {
    totalParameters,
    trainableParameters,
    headParameters,
    adapterBytes:
      values.adapterBytes ?? (trainableParameters + headParameters) * Float32Array.BYTES_PER_ELEMENT,
    recompute: decided.recompute,
    bytes,
  };
}

const count = (value: number): string => value.toLocaleString("en-US");

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
