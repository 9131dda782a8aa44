/** @file A model of a configuration's shape with random weights: for benchmarks, tests and training from scratch. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { internalError } from "../errors.ts";
import type { BaseParameter } from "../methods/contract.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import { lazily } from "./lazily.ts";
import { locationsIn, preparedPath, writePrepared } from "./prepared-weights.ts";

/** Random float32 weights in a file of the cache, made when they are first needed: the same for the same configuration and seed. */
export function randomWeights(
  configuration: Readonly<Record<string, unknown>>,
  parameters: readonly BaseParameter[],
  seed: number,
  initialValue: (parameter: BaseParameter, seed: number) => Float32Array,
): { key: string; locate: (stored: string) => WeightLocation; read: (stored: string) => Float32Array } {
  const names = parameters.map(({ stored, shape }) => `${stored} ${shape.join()}`).join("\n");
  const key = createHash("sha256").update(`random 1 ${seed}\n${JSON.stringify(configuration)}\n${names}`).digest("hex").slice(0, 40);
  const written = lazily(() => {
    const path = preparedPath(key);
    if (!fs.existsSync(path))
      writePrepared(
        path,
        parameters.map((parameter) => ({ name: parameter.stored, shape: parameter.shape, values: () => initialValue(parameter, seed) })),
      );
    return path;
  });
  const locations = lazily(() => locationsIn(written()));
  return {
    key,
    locate(stored) {
      const location = locations().get(stored);
      if (!location) throw internalError(`there are no random weights for ${stored}.`);
      return location;
    },
    read: (stored) => readFloat32(openSafetensors(written()), stored),
  };
}
