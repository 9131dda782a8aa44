/**
 * @file Methods with virtual tokens: PEFT's files keep the result of an encoder alone, so that what was trained is
 * recorded apart, under the names of its modules.
 */
import { join } from "node:path";
import { existsSync } from "node:fs";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { condenseAdapter } from "../../src/adapters/condense.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import { entryValues } from "../../src/methods/layout.ts";
import type { LayoutEntry } from "../../src/methods/layout.ts";
import { promptEmbeddings } from "../../src/methods/virtual-tokens.ts";
import { CaseFailure, compare, floats, readTensors } from "./cases.ts";
import type { Tolerance } from "./cases.ts";

/** The adapter with its encoder, whose values are in the file `name` of the case, where there is one. */
export function withRecordedValues(loaded: Adapter, base: Base, folder: string, name: string): Adapter {
  const path = join(folder, name);
  if (!existsSync(path)) return loaded;
  const tensors = readTensors(path);
  const adapter = uncondensed(loaded, base);
  const values = new Float32Array(adapter.layout.size);
  for (const entry of adapter.layout.entries) {
    const recorded = [...tensors.keys()].find((key) => canonicalName(key) === recordedName(entry));
    if (recorded === undefined) throw new CaseFailure(`${name} has no ${entry.key}`);
    entryValues(values, entry).set(floats(tensors, recorded).data);
  }
  return withValues<MethodType>(adapter, values);
}

function uncondensed(loaded: Adapter, base: Base): Adapter {
  const common = { base, seed: 0, name: loaded.name };
  switch (loaded.methodType) {
    case "PREFIX_TUNING":
      return createAdapter({
        ...common,
        type: "PREFIX_TUNING",
        configuration: { ...loaded.configuration, condensed: false },
      });
    case "P_TUNING":
      return createAdapter({
        ...common,
        type: "P_TUNING",
        configuration: { ...loaded.configuration, condensed: false },
      });
    default:
      return loaded;
  }
}

/** A parameter as PEFT calls it in a method with virtual tokens. */
export function recordedName({ key }: Pick<LayoutEntry, "key">): string {
  if (key === promptEmbeddings) return "prompt_encoder.embedding.weight";
  return key.startsWith("prompt_encoder.") ? key : `base_model.${key}`;
}

/** A name of PEFT's `named_parameters()` as it stands in an adapter file: without the adapter's name. */
export function canonicalName(parameter: string): string {
  return (
    parameter
      .replace(".modules_to_save.default", "")
      .replace(/\.default(?=\.|$)/, "")
      .replace(/\.lora_magnitude_vector\.weight$/, ".lora_magnitude_vector")
      // The bank is the first layer's there.
      .replace(/^base_model\.model\..*\.vblora_vector_bank$/, "base_model.vblora_vector_bank")
  );
}

/** What files keep of an adapter against what PEFT's file holds. */
export async function checkCondensed(
  adapter: Adapter,
  loaded: Adapter,
  base: Base,
  tolerance: Tolerance,
): Promise<void> {
  const { values, layout } = await condenseAdapter(adapter, base);
  compare(
    "condensed",
    { shape: [layout.size], data: values },
    { shape: [layout.size], data: loaded.values },
    tolerance,
  );
}
