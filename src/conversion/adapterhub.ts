/**
 * @file Adapter folders of AdapterHub's `adapters`: bottleneck adapters both ways, LoRA to read. Their modules hang
 * in other places on each architecture, so what counts of a name is the layer's number, the place and the part.
 * Source: adapter-hub/adapters 1.3, src/adapters/loading.py and src/adapters/models.
 */
import fs from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { bottleneckFormat } from "../adapters/bottleneck-format.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { openSafetensors } from "../files/safetensors.ts";
import { openTorchArchive } from "../files/torch-archive.ts";
import { modulePrefix } from "../adapters/adapter-format.ts";
import { safetensorsSource } from "../adapters/tensor-source.ts";
import type { TensorSource } from "../adapters/tensor-source.ts";
import { taskTypes } from "../adapters/transformers-names.ts";
import { writeAdapterHub } from "./adapterhub-write.ts";
import type { ConvertedAdapter, ForeignFormat } from "./foreign.ts";
import { labelCountOf } from "./head-labels.ts";
import { wholeMatrices } from "./merged-linear.ts";
import { valuesSource } from "./named-values.ts";
import type { NamedValues } from "./named-values.ts";
import { peftLora } from "./plain-lora.ts";
import type { LoraModule } from "./plain-lora.ts";

const configurationName = "adapter_config.json";
const weightNames = ["adapter.safetensors", "pytorch_adapter.safetensors", "pytorch_adapter.bin"];
const headNames = ["model_head.safetensors", "pytorch_model_head.safetensors", "pytorch_model_head.bin"];

const schema = z.looseObject({
  config: z.looseObject({ architecture: z.string().nullish() }),
  name: z.string(),
  version: z.string().nullish(),
});

const loraSchema = z.looseObject({
  r: z.int().positive(),
  alpha: z.number().positive(),
  attn_matrices: z.array(z.enum(["q", "k", "v"])).default(["q", "v"]),
  composition_mode: z.literal("add").default("add"),
  use_gating: z.literal(false).default(false),
  use_dora: z.literal(false).default(false),
});

type Description = z.infer<typeof schema>;

export const adapterHub: ForeignFormat = {
  summary: "a folder of AdapterHub's adapters",
  recognises: (path) =>
    fs.existsSync(join(path, configurationName)) && fileIn(path, weightNames) !== undefined,
  async open(path) {
    const where = quote(join(path, configurationName));
    const description = parseWithSchema(schema, readJsonFile(join(path, configurationName)), where);
    const weights = await openWeights(path, weightNames);
    if (weights === undefined)
      throw new DeltafitError(
        "file-missing",
        `${quote(path)} holds no weights: expected ${weightNames.join(" or ")}.`,
      );
    const head = await openWeights(path, headNames);
    return {
      labelCount: head && labelCountOf(head.tensors),
      toPeft: (base) => convert({ path, where, description, weights, head }, base),
    };
  },
  write: writeAdapterHub,
};

interface AdapterHubFiles {
  readonly path: string;
  readonly where: string;
  readonly description: Description;
  readonly weights: TensorSource;
  readonly head: TensorSource | undefined;
}

function fileIn(folder: string, names: readonly string[]): string | undefined {
  return names.map((name) => join(folder, name)).find((path) => fs.existsSync(path));
}

async function openWeights(folder: string, names: readonly string[]): Promise<TensorSource | undefined> {
  const path = fileIn(folder, names);
  if (path === undefined) return undefined;
  return path.endsWith(".bin") ? await openTorchArchive(path) : safetensorsSource(openSafetensors(path));
}

function convert(files: AdapterHubFiles, base: Base): ConvertedAdapter {
  const { description, where } = files;
  const architecture = description.config.architecture ?? "bottleneck";
  const { saved, notes } = headOf(files, base);
  if (architecture === "lora") return { source: loraSource(files, base, saved), notes };
  if (architecture === "bottleneck") return { source: bottleneckSource(files, base, saved), notes };
  throw new DeltafitError(
    "method-unsupported",
    `${where}: the architecture is ${quote(architecture)}; expected a bottleneck adapter or "lora".`,
    "Other methods are trained anew with deltafit.",
  );
}

/** The task's head, where it is one of transformers' own. */
function headOf(
  { head }: AdapterHubFiles,
  base: Base,
): { readonly saved: ReadonlyMap<string, NamedValues>; readonly notes: readonly string[] } {
  const saved = new Map<string, NamedValues>();
  const left: string[] = [];
  for (const [name, { shape }] of head?.tensors ?? []) {
    const isHead = base.modules.headModules.some((module) => name.startsWith(`${module}.`));
    const values = head?.readFloat32(name) ?? new Float32Array();
    if (equalsBase(name, values, base)) continue;
    if (isHead) saved.set(name, { shape, values });
    else left.push(name);
  }
  const notes =
    left.length === 0 ? [] : [`the base's own head stays; the folder's is left out: ${left.join(", ")}.`];
  return { saved, notes };
}

function equalsBase(name: string, values: Float32Array, base: Base): boolean {
  if (!base.modules.parameters.has(name)) return false;
  const own = base.read(name);
  return own.length === values.length && own.every((value, index) => value === values[index]);
}

/** Layer, place and part of a name, as `3 attention adapter_up.weight`; `undefined` for other names. */
function placeOf(
  name: string,
): { readonly layer: number; readonly kind: string; readonly part: string } | undefined {
  const found =
    /\.(\d+)\..*?(attention_adapters|attention\.output|output_adapters|output)\.adapters\.[^.]+\.(adapter_.+)$/.exec(
      name,
    );
  if (!found) return undefined;
  const [, layer, place, part = ""] = found;
  return {
    layer: Number(layer),
    kind: place?.startsWith("attention") === true ? "attention" : "feed-forward",
    part,
  };
}

const locations: Readonly<Record<string, string>> = {
  attention: "attention_adapters",
  "feed-forward": "output_adapters",
};

function bottleneckSource(
  { path, where, description, weights }: AdapterHubFiles,
  { modules, settings }: Base,
  saved: ReadonlyMap<string, NamedValues>,
): ConvertedAdapter["source"] {
  const tensors = new Map<string, NamedValues>();
  for (const [name, { shape }] of weights.tensors) {
    // A norm of the adapter's own is stored twice: also as the first of the layers on the way down.
    if (
      name.includes(".adapter_down.0.") &&
      weights.tensors.has(name.replace(".adapter_down.0.", ".adapter_norm_before."))
    )
      continue;
    const place = placeOf(name);
    const site = place && modules.sublayers.filter(({ kind }) => kind === place.kind)[place.layer];
    if (place === undefined || site === undefined)
      throw new DeltafitError(
        "adapter-mismatch",
        `${quote(weights.path)}: the base has no place for ${quote(name)}.`,
        "Open the base the adapter was trained on.",
      );
    const key = `${modulePrefix}${site.path}.${locations[place.kind] ?? ""}.${place.part}`;
    tensors.set(key, { shape, values: weights.readFloat32(name) });
  }
  for (const [name, values] of saved) tensors.set(modulePrefix + name, values);
  const understood = Object.entries(description.config).filter(([name]) =>
    bottleneckFormat.understood.includes(name),
  );
  const heads = modules.headModules.filter((module) =>
    [...saved.keys()].some((name) => name.startsWith(`${module}.`)),
  );
  return {
    folder: path,
    where,
    configuration: {
      ...Object.fromEntries(understood),
      peft_type: "BOTTLENECK",
      task_type: taskTypes[settings.task],
      modules_to_save: heads.length > 0 ? heads : null,
    },
    weights: valuesSource(path, tensors),
  };
}

/** Slices of a fused projection by their letters. */
const slices = { q: 0, k: 1, v: 2 } as const;

function loraSource(
  { path, where, description, weights }: AdapterHubFiles,
  base: Base,
  saved: ReadonlyMap<string, NamedValues>,
): ConvertedAdapter["source"] {
  const {
    r,
    alpha,
    attn_matrices: letters,
  } = parseWithSchema(loraSchema, description.config, `${where}, config`);
  const read = (name: string): NamedValues => ({
    shape: weights.tensors.get(name)?.shape ?? [],
    values: weights.readFloat32(name),
  });
  const modules = [...weights.tensors.keys()].flatMap((name): LoraModule[] => {
    const [, module, side] = /^(.+)\.loras\.[^.]+\.lora_([AB])$/.exec(name) ?? [];
    const other = name.replace(/A$/, "B");
    if (module === undefined || (side === "A" && !weights.tensors.has(other)))
      throw new DeltafitError(
        "method-unsupported",
        `${quote(weights.path)}: ${quote(name)} is no matrix of a LoRA.`,
      );
    if (side === "B") return [];
    const [a, b] = [read(name), read(other)];
    const scale = scaleOf(description, r, alpha);
    const rank = b.shape[1] ?? 0;
    if (a.shape[0] === rank) return [{ path: module, a, b, scale }];
    const out = base.modules.linears.get(module)?.out ?? 0;
    const adapted = letters.map((letter) => slices[letter]).sort();
    return [{ path: module, ...wholeMatrices({ path: module, a, b }, out, adapted, where), scale }];
  });
  return peftLora({ modules, saved }, base, path);
}

/** Versions before 1.1 did not divide by the rank as configured: the library reads their adapters with scale 1. */
function scaleOf({ version }: Description, rank: number, alpha: number): number {
  const [, major, minor] = /^adapters\.(\d+)\.(\d+)/.exec(version ?? "") ?? [];
  const isEarly = major === "0" || (major === "1" && minor === "0");
  return isEarly ? 1 : alpha / rank;
}
