/** @file Random numbers of one parameter: a function of the seed and its name, so that no other parameter matters. */
import { hashText } from "../graph/print.ts";
import { TorchGenerator } from "../tensor/random.ts";
import type { RandomSource } from "../methods/contract.ts";

/** A generator that depends on a seed and a name and on nothing else. */
export function keyedGenerator(seed: number, name: string): RandomSource {
  const generator = new TorchGenerator(Number.parseInt(hashText(`${seed}/${name}`).slice(0, 8), 16));
  return {
    uniform: (count, from, to) => generator.uniform(count, from, to),
    normal: (count, mean, deviation) => generator.normal(count, mean, deviation),
  };
}
