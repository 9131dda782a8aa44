/**
 * @file LoRA as an `.onnx_adapter` file for ONNX Runtime, whose tensors are inputs of a model by name. Names and
 * orientation are those of Microsoft's Olive: PEFT's path, matrices for multiplying from the right, B scaled.
 * Source: microsoft/Olive, olive/cli/convert_adapters.py.
 */
import { modulePrefix } from "../adapters/adapter-format.ts";
import { DeltafitError } from "../errors.ts";
import { readOnnxAdapter, writeOnnxAdapter } from "../files/onnx-adapter.ts";
import type { OnnxParameter } from "../files/onnx-adapter.ts";
import { quote } from "../files/quote.ts";
import type { ForeignFormat } from "./foreign.ts";
import { scaled, transposed } from "./named-values.ts";
import { modulesOfLora, peftLora } from "./plain-lora.ts";
import type { LoraModule } from "./plain-lora.ts";

export const onnxAdapter: ForeignFormat = {
  summary: "a file for ONNX Runtime (.onnx_adapter)",
  recognises: (path) => path.endsWith(".onnx_adapter"),
  open(path) {
    const modules = modulesOf(readOnnxAdapter(path), path);
    return Promise.resolve({
      labelCount: undefined,
      toPeft: (base) => ({ source: peftLora({ modules }, base, path), notes: [] }),
    });
  },
  async write(path, adapter) {
    const modules = modulesOfLora(adapter, "An ONNX adapter");
    const adapted = modules.find(({ magnitude }) => magnitude !== undefined);
    if (adapted)
      throw new DeltafitError(
        "method-unsupported",
        "An ONNX adapter holds matrices of LoRA alone; the adapter has magnitudes (DoRA).",
        "Merge it into the base instead.",
      );
    writeOnnxAdapter(
      path,
      modules.flatMap(({ path: module, a, b, scale }) => [
        { name: `${module}.lora_A.weight`, ...transposed(a) },
        { name: `${module}.lora_B.weight`, ...scaled(transposed(b), scale) },
      ]),
    );
    return Promise.resolve();
  },
};

/** B is stored scaled, so that the scale is one. */
function modulesOf(parameters: readonly OnnxParameter[], path: string): LoraModule[] {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return parameters.flatMap(({ name, shape, values }): LoraModule[] => {
    const [, stem, side] = /^(.+)\.lora_([AB])\.weight$/.exec(name) ?? [];
    const b = stem === undefined ? undefined : byName.get(`${stem}.lora_B.weight`);
    const isWhole = side === "B" ? byName.has(`${stem ?? ""}.lora_A.weight`) : b !== undefined;
    if (stem === undefined || !isWhole || shape.length !== 2)
      throw new DeltafitError(
        "method-unsupported",
        `${quote(path)}: ${quote(name)} is no matrix of a LoRA as Olive names them (MODULE.lora_A.weight with MODULE.lora_B.weight).`,
        "deltafit reads adapters that Olive's convert-adapters or deltafit wrote, not quantised.",
      );
    if (side === "B" || b === undefined) return [];
    const module = stem.startsWith(modulePrefix) ? stem.slice(modulePrefix.length) : stem;
    return [{ path: module, a: transposed({ shape, values }), b: transposed(b), scale: 1 }];
  });
}
