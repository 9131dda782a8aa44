/**
 * @file Checkpoints of loralib, the LoRA paper's own library: a torch file with `PATH.lora_A` and `PATH.lora_B`, and
 * what was trained besides. The scale is not in it. Read only: current tools exchange PEFT's format.
 * Source: microsoft/LoRA, loralib/layers.py and loralib/utils.py.
 */
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { openTorchArchive } from "../files/torch-archive.ts";
import type { TorchArchive } from "../files/torch-archive.ts";
import type { ConvertedAdapter, ForeignFormat, ReadOptions } from "./foreign.ts";
import { labelCountOf } from "./head-labels.ts";
import { wholeMatrices } from "./merged-linear.ts";
import type { NamedValues } from "./named-values.ts";
import { peftLora } from "./plain-lora.ts";
import type { LoraModule } from "./plain-lora.ts";

/** What distributed training puts in front of every name. */
const wrapper = /^module\./;

export const loralib: ForeignFormat = {
  summary: "a checkpoint of loralib (.pt, .bin)",
  recognises: (path) => /\.(pt|pth|bin|ckpt)$/.test(path),
  async open(path) {
    const archive = await openTorchArchive(path);
    return {
      labelCount: labelCountOf(archive.tensors),
      toPeft: (base, options) => convert(archive, base, options),
    };
  },
};

function convert(archive: TorchArchive, base: Base, { alpha }: ReadOptions): ConvertedAdapter {
  const where = quote(archive.path);
  if (alpha === undefined)
    throw new DeltafitError(
      "usage-invalid",
      `${where} does not say how its product is scaled: expected --alpha.`,
      "It is lora_alpha in the script that trained it, such as 32 for the paper's GPT-2 and 16 for its RoBERTa base.",
    );
  const read = (name: string): NamedValues => ({
    shape: archive.tensors.get(name)?.shape ?? [],
    values: archive.readFloat32(name),
  });
  const names = new Map([...archive.tensors.keys()].map((name) => [name.replace(wrapper, ""), name]));
  const modules: LoraModule[] = [];
  const notes: string[] = [];
  for (const [name, stored] of names) {
    const path = /^(.+)\.lora_A$/.exec(name)?.[1];
    const other = path === undefined ? undefined : names.get(`${path}.lora_B`);
    if (path === undefined || other === undefined) continue;
    modules.push(moduleOf(path, read(stored), read(other), base, alpha, where));
  }
  const fused = modules.filter(
    ({ path, b }) => b.shape[0] !== archive.tensors.get(names.get(`${path}.lora_B`) ?? "")?.shape[0],
  );
  if (fused.length > 0)
    notes.push(
      `${fused.length} fused layers have matrices for single slices: they became one of twice the rank on the whole layer, query and value.`,
    );
  const { biases, saved, left } = besides(names, modules, base, read);
  if (left.length > 0)
    notes.push(
      `not part of an adapter, and left out: ${left.slice(0, 3).join(", ")}${left.length > 3 ? ` and ${left.length - 3} more` : ""}.`,
    );
  return { source: peftLora({ modules, biases, saved }, base, archive.path), notes };
}

function moduleOf(
  path: string,
  a: NamedValues,
  b: NamedValues,
  base: Base,
  alpha: number,
  where: string,
): LoraModule {
  const [ranks = 0] = a.shape;
  const rank = b.shape[1] ?? 0;
  const scale = alpha / rank;
  if (ranks === rank) return { path, a, b, scale };
  const out = base.modules.linears.get(path)?.out ?? 0;
  return { path, ...wholeMatrices({ path, a, b }, out, undefined, where), scale };
}

/** What was trained beside the matrices: biases of adapted layers, and the head. */
function besides(
  names: ReadonlyMap<string, string>,
  modules: readonly LoraModule[],
  { modules: table }: Base,
  read: (name: string) => NamedValues,
): {
  readonly biases: ReadonlyMap<string, NamedValues>;
  readonly saved: ReadonlyMap<string, NamedValues>;
  readonly left: readonly string[];
} {
  const adapted = new Set(modules.map(({ path }) => path));
  const biases = new Map<string, NamedValues>();
  const saved = new Map<string, NamedValues>();
  const left: string[] = [];
  for (const [name, stored] of names) {
    const owner = name.replace(/\.[^.]+$/, "");
    const isHead = table.headModules.some((head) => name.startsWith(`${head}.`));
    if (isHead) saved.set(name, read(stored));
    else if (name.endsWith(".bias") && adapted.has(owner)) biases.set(owner, read(stored));
    else if (!/\.lora_[AB]$/.test(name)) left.push(name);
  }
  return { biases, saved, left };
}
