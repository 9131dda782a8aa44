/**
 * @file adapter_config.json both ways: the fields every PEFT method has, and around them the fields of one method.
 * What deltafit has no use for is kept and written back.
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { withTimeLimit } from "../files/time-limit.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { insideModule } from "../methods/targets.ts";
import type { Adapter, BoundAdapter } from "./adapter.ts";
import { bindAdapter } from "./adapter.ts";
import type { AdapterFormat, FormatContext } from "./adapter-format.ts";
import { formatOf, requireMethodType } from "./method-table.ts";
import type { MethodConfigurations, MethodType } from "./method-table.ts";
import { headsOfTaskType, taskTypes, transformersClass, transformersModule } from "./transformers-names.ts";

/** The version of PEFT whose fields are written. */
const peftVersion = "0.21.2";

/** Regular expressions of a file run over the names of modules: known ones take microseconds. */
const timeLimitMs = 1_000;

const schema = z.looseObject({
  peft_type: z.string(),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
});

/** Fields that deltafit writes by itself, whatever the file it loaded had. */
const ownFields: readonly string[] = [
  "auto_mapping",
  "base_model_name_or_path",
  "inference_mode",
  "peft_type",
  "peft_version",
  "task_type",
  // PEFT writes none either.
  "runtime_config",
];

/** The fields of adapter_config.json that all methods have. */
export interface PeftHeader {
  readonly type: MethodType;
  readonly taskType: string | undefined;
  /** What the base was called when the adapter was made. */
  readonly baseModel: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Checks that a value is a PEFT configuration of a method deltafit implements.
 * @param where What the value is, for error messages: the file's path in quotes.
 * @throws DeltafitError `config-invalid`, `method-unsupported`.
 */
export function readPeftHeader(value: unknown, where: string): PeftHeader {
  refuseOtherFormats(value, where);
  const fields = parseWithSchema(schema, value, where);
  return {
    type: requireMethodType(fields.peft_type, where),
    taskType: fields.task_type ?? undefined,
    baseModel: fields.base_model_name_or_path ?? undefined,
    fields,
  };
}

/** Other tools call other files adapter_config.json as well. */
function refuseOtherFormats(value: unknown, where: string): void {
  if (typeof value !== "object" || value === null || "peft_type" in value) return;
  const isMlx = "lora_parameters" in value || "fine_tune_type" in value;
  const isAdapterHub = "model_class" in value && "config" in value;
  const found = isMlx
    ? "a configuration of mlx-lm"
    : isAdapterHub
      ? "a configuration of AdapterHub's adapters"
      : "an object without it";
  throw new DeltafitError(
    "config-invalid",
    `${where} is not PEFT's: expected an object with "peft_type", found ${found}.`,
    isMlx || isAdapterHub
      ? "Convert the adapter to PEFT's format with `deltafit convert`."
      : "Check that the folder holds an adapter saved by PEFT or deltafit.",
  );
}

/**
 * Fits a checked configuration to a base.
 * @throws DeltafitError `adapter-mismatch` where the adapter is for another task; what the method throws.
 */
export function bindPeftAdapter(
  header: PeftHeader,
  base: Base,
  name: string,
  where: string,
  tensorShapes: FormatContext["tensorShapes"],
): BoundAdapter<MethodType> {
  checkTask(header, base, where);
  return withTimeLimit(
    timeLimitMs,
    () => bindFields(header.type, header.fields, base, name, { where, tensorShapes }),
    () =>
      new DeltafitError(
        "config-invalid",
        `${where}: matching its patterns against the base's modules takes more than ${timeLimitMs / 1000} s.`,
        "Check the regular expressions of target_modules, exclude_modules, rank_pattern and alpha_pattern.",
      ),
  );
}

function bindFields<Type extends MethodType>(
  type: Type,
  fields: Readonly<Record<string, unknown>>,
  base: Base,
  name: string,
  file: Pick<FormatContext, "where" | "tensorShapes">,
): BoundAdapter<Type> {
  const format = formatOf(type);
  const context = { modules: base.modules, modelType: base.model.modelType, ...file };
  const configuration = format.fromPeft(fields, context);
  return bindAdapter(base, { name, type, configuration, extraConfiguration: extraFields(fields, format) });
}

/** Fields that are neither understood nor at their default. */
function extraFields<Type extends MethodType>(
  fields: Readonly<Record<string, unknown>>,
  { understood, defaults }: AdapterFormat<MethodConfigurations[Type]>,
): Record<string, unknown> {
  const isKept = ([key, value]: [string, unknown]) =>
    !understood.includes(key) && !ownFields.includes(key) && !isDeepStrictEqual(value, defaults[key] ?? null);
  return Object.fromEntries(Object.entries(fields).filter(isKept));
}

/** A `task_type` that other tools leave to the user fits every task. */
function checkTask({ taskType, baseModel }: PeftHeader, base: Base, where: string): void {
  const known = Object.values(taskTypes).includes(taskType ?? null);
  const opened = taskTypes[base.settings.task];
  if (taskType === undefined || taskType === opened || !known) return;
  const tasks = Object.entries(taskTypes).flatMap(([task, type]) => (type === taskType ? [task] : []));
  throw new DeltafitError(
    "adapter-mismatch",
    `${where}: the adapter is for the task_type ${taskType}, but the base ${quote(base.name)} was opened for ${base.settings.task}.`,
    `Open the base for ${tasks.join(" or ")}${baseModel === undefined ? "" : `; the adapter was trained on ${quote(baseModel)}`}.`,
  );
}

/**
 * PEFT takes the heads of some task types for granted in an adapter's file. One that leaves the head to another
 * adapter has no such type.
 */
function hasTaskModules(
  { configuration, layout }: { readonly configuration: object; readonly layout: ParameterLayout },
  { modules, settings }: Base,
): boolean {
  const heads = headsOfTaskType[taskTypes[settings.task] ?? ""] ?? [];
  if (heads.length === 0 || !("modulesToSave" in configuration)) return true;
  return layout.entries.some(({ key }) => insideModule(modules.headModules, key));
}

/** The whole adapter_config.json, with keys sorted as PEFT does. */
export function toPeftConfiguration<Type extends MethodType>(
  adapter: Adapter<Type>,
  base: Base,
): Record<string, unknown> {
  const { modelType } = base.model;
  const { task } = base.settings;
  const format = formatOf<Type>(adapter.methodType);
  const written = format.toPeft(adapter.configuration, {
    modules: base.modules,
    modelType,
    where: "The configuration",
  });
  const taskType = hasTaskModules(adapter, base) ? taskTypes[task] : null;
  const className = transformersClass(modelType, task);
  const fields: Record<string, unknown> = {
    revision: null,
    ...format.defaults,
    ...adapter.extraConfiguration,
    ...written,
    peft_type: adapter.methodType,
    peft_version: peftVersion,
    task_type: taskType,
    // PEFT finds the class by the task where there is one.
    auto_mapping:
      taskType === null && className !== undefined
        ? { base_model_class: className, parent_library: transformersModule(modelType) }
        : null,
    base_model_name_or_path: base.name,
    inference_mode: true,
  };
  // Of the heads that PEFT adds by itself it writes all names, whichever the model has.
  const heads = taskType === null ? [] : (headsOfTaskType[taskType] ?? []);
  const saved = Array.isArray(fields["modules_to_save"]) ? (fields["modules_to_save"] as unknown[]) : [];
  if ("modules_to_save" in fields && heads.length > 0)
    fields["modules_to_save"] = [...new Set([...saved, ...heads])];
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}
