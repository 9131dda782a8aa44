/** @file Random numbers against torch's CPU generator: equal, not close. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readJsonFile } from "../../src/files/json.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { elementCount } from "../../src/tensor/tensor.ts";
import { CaseFailure, readTensors } from "./cases.ts";
import { CaseSkipped } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

const drawSchema = z.looseObject({
  key: z.string(),
  call: z.string(),
  seed: z.number(),
  shape: z.array(z.int()),
  r: z.int().optional(),
  in_features: z.int().optional(),
});
type Draw = z.output<typeof drawSchema>;

/** One case for each of torch's functions, with all its seeds and shapes. */
export const draws: ReferenceSection = ({ root }) => {
  const path = join(root, "rng", "cases.json");
  if (!existsSync(path)) return [];
  const all = z.array(drawSchema).parse(readJsonFile(path));
  const expected = readTensors(join(root, "rng", "expected.safetensors"));
  return [...new Set(all.map(({ call }) => call))].map((call): ReferenceCase => ({
    name: `rng/${call}`,
    check() {
      for (const draw of all.filter((one) => one.call === call)) {
        const wanted = expected.get(draw.key)?.data;
        const found = drawn(draw);
        if (wanted?.length !== found.length)
          throw new CaseFailure(`${draw.key}: ${found.length} numbers, expected ${wanted?.length ?? "none"}`);
        const index = found.findIndex((value, at) => value !== Number(wanted[at]));
        if (index >= 0)
          throw new CaseFailure(
            `${draw.key}[${index}], seed ${draw.seed}: ${found[index]}, expected ${wanted[index]}`,
          );
      }
    },
  }));
};

function drawn({ call, seed, shape, r = 0, in_features: from = 0 }: Draw): number[] {
  const generator = new TorchGenerator(seed);
  const count = elementCount(shape);
  switch (call) {
    case "rand":
      return [...generator.uniform(count)];
    case "randn":
      return [...generator.normal(count)];
    case "kaiming_uniform_(a=sqrt(5))":
      return [...generator.kaimingUniform(shape, Math.sqrt(5))];
    case "normal_(std=0.5)":
      return [...generator.normal(count, 0, 0.5)];
    case "randperm":
      return [...generator.permutation(count)];
    case "randint(0,1000)":
      return [...generator.integers(count, 0, 1000)];
    case "bernoulli(0.3)":
      return [...generator.bernoulli(count, 0.3)];
    case "rand-then-randn":
      return [...generator.uniform(3), ...generator.normal(count - 3)];
    case "vera_A":
      return [...generator.kaimingUniform(shape, 0)];
    case "vera_B":
      generator.kaimingUniform([r, from], 0);
      return [...generator.kaimingUniform(shape, 0)];
    default:
      throw new CaseSkipped(`${call} is not implemented`);
  }
}
