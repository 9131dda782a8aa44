/** @file Token ids for measurements, where any text would do. */
import { TorchGenerator } from "../tensor/random.ts";

/** Ids below this are special tokens in many models; a padding token inside a row would be taken for its end. */
const firstOrdinary = 5;

/** The same ids for the same seed. */
export function randomTokens(count: number, vocabularySize: number, seed: number): number[] {
  const generator = new TorchGenerator(seed);
  const first = Math.min(firstOrdinary, vocabularySize - 1);
  return Array.from({ length: count }, () => first + (generator.nextUint32() % (vocabularySize - first)));
}
