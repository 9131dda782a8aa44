/** @file Writes bottleneck adapters as a folder of AdapterHub's `adapters`. */
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { bottleneckFormat } from "../adapters/bottleneck-format.ts";
import { transformersClass } from "../adapters/transformers-names.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { entryValues } from "../methods/layout.ts";
import { float32Tensor } from "../tensor/tensor.ts";

/** The library's format that is written. */
const version = "adapters.1.3.0";
/** What the adapter is called in it. */
const name = "default";

/**
 * Adapters hang on the module that ends a sub-layer where that is an output module of its own, as BERT's, and on the
 * layer elsewhere.
 */
function adapterHubName(key: string): string | undefined {
  const [, path, location, part] =
    /^(.+)\.(attention_adapters|output_adapters)\.(adapter_.+)$/.exec(key) ?? [];
  if (path === undefined || location === undefined || part === undefined) return undefined;
  if (path.endsWith(".output")) return `${path}.adapters.${name}.${part}`;
  const layer = /^.*?\.\d+(?=\.|$)/.exec(path)?.[0] ?? path;
  return `${layer}.${location}.adapters.${name}.${part}`;
}

/** Fields of AdapterHub's `BnConfig` that deltafit leaves at their defaults. */
const rest = {
  adapter_residual_before_ln: false,
  factorized_phm_W: true,
  factorized_phm_rule: false,
  hypercomplex_nonlinearity: "glorot-uniform",
  init_weights_seed: null,
  inv_adapter_reduction_factor: null,
  learn_phm: true,
  phm_bias: true,
  phm_c_init: "normal",
  phm_dim: 4,
  phm_init_range: 0.0001,
  phm_rank: 1,
  shared_W_phm: false,
  shared_phm_rule: true,
};

/** @throws DeltafitError `method-unsupported` for other methods; `write-failed`. */
export async function writeAdapterHub(path: string, adapter: Adapter, base: Base): Promise<void> {
  if (adapter.methodType !== "BOTTLENECK")
    throw new DeltafitError(
      "method-unsupported",
      `AdapterHub's folders are written for bottleneck adapters; the adapter's method is ${adapter.methodType}.`,
      "AdapterHub's tools read LoRA best from PEFT's own format, through PEFT.",
    );
  const { layout, values, configuration } = adapter;
  const tensors = layout.entries.flatMap((entry) => {
    const ownName = adapterHubName(entry.key);
    const tensor = float32Tensor(entry.shape, entryValues(values, entry));
    if (ownName === undefined) return [{ name: entry.key, tensor, isHead: true }];
    // A norm of the adapter's own is stored twice: also as the first of the layers on the way down.
    const second = ownName.replace(".adapter_norm_before.", ".adapter_down.0.");
    return [...new Set([ownName, second])].map((own) => ({ name: own, tensor, isHead: false }));
  });
  const { modelType, hiddenSize } = base.model;
  const common = {
    hidden_size: hiddenSize,
    model_class: transformersClass(modelType, base.settings.task) ?? null,
    model_name: base.name,
    model_type: modelType,
    version,
  };
  const fields = bottleneckFormat.toPeft(configuration, {
    modules: base.modules,
    modelType,
    where: "The configuration",
  });
  const { modules_to_save: _saved, ...config } = fields;
  await writeFolderAtomic(path, (folder) => {
    const write = (file: string, value: unknown) =>
      writeFileAtomic(join(folder, file), withFloats(JSON.stringify(value, null, 2)));
    writeSafetensors(
      join(folder, "adapter.safetensors"),
      tensors.filter(({ isHead }) => !isHead),
      { format: "pt" },
    );
    write("adapter_config.json", { ...common, config: { ...rest, ...config }, name });
    const head = tensors.filter(({ isHead }) => isHead);
    if (head.length === 0) return;
    writeSafetensors(join(folder, "model_head.safetensors"), head, { format: "pt" });
    const { labelCount } = base.settings;
    write("head_config.json", { ...common, config: null, name: null, num_labels: labelCount });
  });
}

/** The library tells numbers from whole ones: a scaling of 1 is refused, 1.0 is not. */
function withFloats(json: string): string {
  return json.replace(/^( *"(?:scaling|dropout|stochastic_depth)": -?\d+)(,?)$/gm, "$1.0$2");
}
