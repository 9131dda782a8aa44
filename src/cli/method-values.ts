/** @file What the flags of methods say, whichever method has a use for them. */
import type { BottleneckName } from "../methods/bottleneck.ts";
import type { LoraStart } from "../methods/lora/start.ts";
import type { BiasTraining } from "../methods/saved-modules.ts";

/** What the flags of methods say; `undefined` and false where a flag is not given. */
export interface MethodValues {
  readonly rank: number | undefined;
  readonly alpha: number | undefined;
  readonly dropout: number | undefined;
  readonly targets: readonly string[] | undefined;
  readonly targetsPattern: string | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly layersToTransform: readonly number[] | undefined;
  readonly rankPattern: Readonly<Record<string, number>> | undefined;
  readonly alphaPattern: Readonly<Record<string, number>> | undefined;
  readonly rankStabilised: boolean;
  readonly magnitude: boolean;
  readonly frozenA: boolean;
  readonly initialWeights: LoraStart | undefined;
  readonly loftqIterations: number | undefined;
  readonly feedForward: readonly string[] | undefined;
  readonly projectionSeed: number | undefined;
  readonly vectorCount: number | undefined;
  readonly vectorLength: number | undefined;
  readonly topVectors: number | undefined;
  readonly saveTopOnly: boolean;
  readonly frequencies: number | undefined;
  readonly initialRank: number | undefined;
  readonly totalSteps: number | undefined;
  readonly initialSteps: number | undefined;
  readonly finalSteps: number | undefined;
  readonly allocateEvery: number | undefined;
  readonly orthogonality: number | undefined;
  readonly blockSize: number | undefined;
  readonly blockCount: number | undefined;
  readonly exactRotation: boolean;
  readonly butterflyFactors: number | undefined;
  readonly tokens: readonly number[] | undefined;
  readonly bottleneck: BottleneckName | undefined;
  readonly reduction: number | undefined;
  readonly virtualTokens: number | undefined;
  readonly promptText: string | undefined;
  /** The text's token ids, and whose they are, where there is a tokenizer. */
  readonly promptSource?: { readonly tokens: readonly number[]; readonly tokenizer: string } | undefined;
  readonly promptStart: "random" | "vocabulary" | undefined;
  readonly projection: boolean;
  readonly bias: BiasTraining | undefined;
  readonly modulesToSave: readonly string[] | undefined;
}
