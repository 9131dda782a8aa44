/**
 * @file Masking for masked language models as in BERT (Devlin et al. 2019, section 3.1): of the tokens
 * chosen, 80 % become the mask token, 10 % a random one, 10 % stay.
 */
import { DeltafitError } from "../errors.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { deriveSeed } from "./derive-seed.ts";
import type { TokenLabelledExample } from "./tokenized-example.ts";
import { ignoredLabel } from "./tokenized-example.ts";

export interface MaskingOptions {
  readonly maskTokenId: number;
  /** Random tokens are drawn below this, special ones included. */
  readonly vocabularySize: number;
  readonly seed: number;
  /** Share of the tokens chosen. Default 0.15. */
  readonly probability?: number;
}

/** Keeps the masks of a run apart from what else its seed decides. */
const purpose = 0x6d61736b;

/**
 * Masks an example whose labels hold its own ids where it may be masked. Depends on seed, epoch and index
 * alone. At least one token is always chosen, so that no example is without a loss.
 *
 * @param index The example's index in the data, not in the epoch's order.
 */
export function maskExample(
  example: TokenLabelledExample,
  index: number,
  epoch: number,
  options: MaskingOptions,
): TokenLabelledExample {
  const { maskTokenId, vocabularySize, seed, probability = 0.15 } = options;
  if (!(probability > 0 && probability <= 1)) {
    throw new DeltafitError(
      "usage-invalid",
      `Masking probability: expected above 0 and up to 1, found ${probability}.`,
    );
  }
  const candidates = example.labels.flatMap((label, position) => (label === ignoredLabel ? [] : [position]));
  const generator = new TorchGenerator(deriveSeed(purpose, seed, epoch, index));
  const draws = generator.uniform(candidates.length);
  const kinds = generator.uniform(candidates.length);
  const randomIds = generator.integers(candidates.length, 0, vocabularySize);
  const smallest = draws.reduce((best, draw, at) => (draw < (draws[best] ?? 1) ? at : best), 0);
  const inputIds = [...example.inputIds];
  const labels = example.labels.map(() => ignoredLabel);
  candidates.forEach((position, at) => {
    const isChosen = (draws[at] ?? 1) < probability || at === smallest;
    if (!isChosen) return;
    const original = example.labels[position] ?? ignoredLabel;
    const kind = kinds[at] ?? 1;
    labels[position] = original;
    inputIds[position] = kind < 0.8 ? maskTokenId : kind < 0.9 ? (randomIds[at] ?? original) : original;
  });
  return { ...example, inputIds, labels };
}
