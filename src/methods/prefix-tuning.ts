/**
 * @file Prefix tuning (Li and Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", sections 4.2
 * and 4.3): trained keys and values stand in front of every layer's own, softmax(s Q [P_K; K]^T) [P_V; V], as if n
 * virtual tokens had been read before. The prefix [n, 2 layers * width] is trained as it is, or made by an encoder
 * W2 tanh(W1 E + b1) + b2 from E [n, width], which is easier to train and thrown away in the end. Prefixes start
 * random, as in PEFT: training does not start from the base.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { AttentionCall } from "../models/forward.ts";
import type { BoundMethod, Method, MethodUse, ModuleTable, ParameterSpec } from "./contract.ts";
import { kaimingUniform, linearBias, normal, zeros } from "./initial.ts";
import { savedModules } from "./saved-modules.ts";
import { checkVirtualTokens, promptEmbeddings, readsSource } from "./virtual-tokens.ts";

export interface PrefixTuningConfiguration {
  /** Length of the prefix. */
  readonly virtualTokens: number;
  /** Make the prefix by an encoder while training. */
  readonly projection: boolean;
  /** Width of the encoder's hidden layer; left out, that of one layer's keys. */
  readonly encoderWidth?: number | undefined;
  /** Without the encoder: its result is what is trained. Files keep no more than that. */
  readonly condensed: boolean;
  /** Normal prefixes with deviation 1, or keys and values of zero. */
  readonly initial: "normal" | "zero";
  /** Modules that are trained whole, such as the task's head. */
  readonly modulesToSave?: readonly string[] | undefined;
}

export const prefixTuningDefaults = {
  virtualTokens: 20,
  projection: false,
  condensed: false,
  initial: "normal",
} as const satisfies Partial<PrefixTuningConfiguration>;

/** Sizes of the keys and values of a model's layers. */
export interface PrefixShape {
  readonly layers: number;
  /** Key-value heads. */
  readonly heads: number;
  /** Width of a head. */
  readonly size: number;
  /** heads * size */
  readonly width: number;
  /** The layer whose part of the prefix a layer takes. */
  readonly partOf: (layer: number) => number;
}

const keys = {
  embedding: "prompt_encoder.embedding.weight",
  hiddenWeight: "prompt_encoder.transform.0.weight",
  hiddenBias: "prompt_encoder.transform.0.bias",
  outputWeight: "prompt_encoder.transform.2.weight",
  outputBias: "prompt_encoder.transform.2.bias",
} as const;

export const prefixTuning: Method<PrefixTuningConfiguration> = {
  type: "PREFIX_TUNING",
  summary: "Prefix tuning: trained keys and values in front of every layer's own (Li and Liang 2021)",
  condense: (configuration) => ({ ...configuration, condensed: true }),
  bind(configuration, modules): BoundMethod {
    const { virtualTokens, projection, condensed, modulesToSave = [] } = configuration;
    checkVirtualTokens("Prefix tuning", virtualTokens);
    const shape = prefixShape(modules);
    const hasEncoder = projection && !condensed;
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    const prefixOf = (use: Pick<MethodUse, "builder" | "parameter">) =>
      hasEncoder ? encode(use) : use.parameter(promptEmbeddings);
    return {
      parameters: [
        ...(hasEncoder ? encoderSpecs(configuration, shape) : [prefixSpec(configuration, shape)]),
        ...saved.parameters,
      ],
      prefixKeys: virtualTokens,
      hooks: (use) => ({
        attention: (call, next, layer) =>
          next(takesPrefix(call) ? withPrefix(use, call, prefixOf(use), shape, layer) : call),
        ...saved.hooks(use),
      }),
      merge: { impossible: "keys and values in front of the sequence are no change of the base's matrices." },
      condensed: hasEncoder
        ? (use) =>
            new Map([
              [promptEmbeddings, encode(use)],
              ...saved.parameters.map(({ key }) => [key, use.parameter(key)] as const),
            ])
        : undefined,
    };
  },
};

/**
 * An encoder-decoder has prefixes where it attends to what it writes, as in PEFT. There every second part of the prefix,
 * counted twice over all layers, is meant for cross-attention and dropped: layer i takes part 2i modulo the layers.
 */
function takesPrefix({ kind = "self" }: Pick<AttentionCall, "kind">): boolean {
  return kind === "self";
}

/** @throws DeltafitError `method-unsupported` where the layers differ. */
export function prefixShape({ attentions }: Pick<ModuleTable, "attentions">): PrefixShape {
  const shapes = attentions
    .filter(takesPrefix)
    .map(({ key }) => [Number(key.shape[1]), Number(key.shape[3])] as const);
  const [[heads, size] = [0, 0]] = shapes;
  if (shapes.length > 0 && shapes.every((shape) => shape[0] === heads && shape[1] === size))
    return {
      layers: shapes.length,
      heads,
      size,
      width: heads * size,
      partOf: readsSource({ attentions }) ? (layer) => (2 * layer) % shapes.length : (layer) => layer,
    };
  throw new DeltafitError(
    "method-unsupported",
    "Prefix tuning: the model has no layers of attention with keys of one size.",
    "Use a method that adapts matrices, such as LoRA.",
  );
}

/** Width of the encoder's hidden layer. */
export function encoderWidthOf({ encoderWidth }: PrefixTuningConfiguration, { width }: PrefixShape): number {
  return encoderWidth ?? width;
}

function prefixSpec(
  { virtualTokens, initial }: PrefixTuningConfiguration,
  { layers, width }: PrefixShape,
): ParameterSpec {
  const shape = [virtualTokens, 2 * layers * width];
  return { key: promptEmbeddings, shape, initial: initial === "zero" ? zeros(shape) : normal(shape, 1) };
}

function encoderSpecs(configuration: PrefixTuningConfiguration, prefix: PrefixShape): ParameterSpec[] {
  const { virtualTokens, initial } = configuration;
  const [hidden, out] = [encoderWidthOf(configuration, prefix), 2 * prefix.layers * prefix.width];
  const spec = (key: string, shape: number[], start: ParameterSpec["initial"]) => ({
    key,
    shape,
    initial: start,
  });
  const isZero = initial === "zero";
  return [
    spec(keys.embedding, [virtualTokens, prefix.width], normal([virtualTokens, prefix.width], 1)),
    spec(keys.hiddenWeight, [hidden, prefix.width], kaimingUniform([hidden, prefix.width])),
    spec(keys.hiddenBias, [hidden], linearBias(hidden, prefix.width)),
    spec(keys.outputWeight, [out, hidden], isZero ? zeros([out, hidden]) : kaimingUniform([out, hidden])),
    spec(keys.outputBias, [out], isZero ? zeros([out]) : linearBias(out, hidden)),
  ];
}

/** The prefix [n, 2 layers * width] that the encoder makes. */
function encode({ builder, parameter }: Pick<MethodUse, "builder" | "parameter">): Value {
  const linear = (x: Value, weight: string, bias: string) =>
    builder.gemm(x, parameter(weight), { transB: true, c: parameter(bias) });
  const hidden = builder.tanh(linear(parameter(keys.embedding), keys.hiddenWeight, keys.hiddenBias));
  return linear(hidden, keys.outputWeight, keys.outputBias);
}

/** The call with a layer's part of the prefix: for each layer its keys, then its values. */
function withPrefix(
  { builder }: Pick<MethodUse, "builder">,
  call: AttentionCall,
  prefix: Value,
  { heads, size, width, partOf }: PrefixShape,
  layer: number,
): AttentionCall {
  const [count = 0] = prefix.shape;
  const inFrontOf = (own: Value, part: number) => {
    const flat = builder.slice(prefix, 1, part * width, (part + 1) * width);
    const byHead = builder.transpose(builder.reshape(flat, [1, count, heads, size]), [0, 2, 1, 3]);
    return builder.concat([builder.expand(byHead, [own.shape[0] ?? 0, heads, count, size]), own], 2);
  };
  return {
    ...call,
    key: inFrontOf(call.key, 2 * partOf(layer)),
    value: inFrontOf(call.value, 2 * partOf(layer) + 1),
    prefixKeys: (call.prefixKeys ?? 0) + Number(count),
  };
}
