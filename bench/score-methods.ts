/**
 * @file The methods whose scores are measured, with a learning rate for each task. The rates are within a factor of a
 * few of those of the papers and of PEFT's examples, higher where 100 updates would not get far with theirs. A method
 * without a rate for a task is not measured on it.
 */

/** What scores are measured on: sentiment of sentences with an encoder, or attributes into text with a decoder. */
export type ScoredTask = "classification" | "causal-lm";

export interface ScoredMethod {
  readonly name: string;
  readonly learningRate: Readonly<Partial<Record<ScoredTask, number>>>;
  /** Flags of `deltafit train`, without targets. */
  readonly flags: readonly string[];
  /** What is adapted, where it is not the task's common targets: names, or undefined for the method's own default. */
  readonly targets?: Readonly<Record<ScoredTask, string>> | "default";
  /** Fields of PEFT's configuration, without targets, where PEFT has the method. */
  readonly peft?: Readonly<Record<string, unknown>>;
  /** Fields of PEFT's configuration for one task alone. */
  readonly peftOfTask?: Readonly<Record<ScoredTask, Readonly<Record<string, unknown>>>>;
  readonly loraPlusRatio?: number;
}

/** The modules that most methods adapt. */
export const commonTargets: Readonly<Record<ScoredTask, string>> = {
  classification: "query,value",
  "causal-lm": "all-linear",
};

const rates = (classification: number, causal: number) => ({ classification, "causal-lm": causal });
const rank8 = ["--rank", "8", "--alpha", "16"];
const lora = { peft_type: "LORA", r: 8, lora_alpha: 16 };
const virtualTokens = ["--virtual-tokens", "20"];

/** Ids of the 256 single bytes in the vocabulary of the bundled base. */
const byteTokens = Array.from({ length: 256 }, (_, byte) => 5 + byte);

const loraRows: readonly ScoredMethod[] = [
  { name: "LoRA", learningRate: rates(1e-3, 5e-3), flags: rank8, peft: lora },
  {
    name: "rsLoRA",
    learningRate: rates(1e-3, 5e-3),
    flags: [...rank8, "--rank-stabilised"],
    peft: { ...lora, use_rslora: true },
  },
  {
    name: "DoRA",
    learningRate: rates(1e-3, 5e-3),
    flags: [...rank8, "--magnitude"],
    peft: { ...lora, use_dora: true },
  },
  {
    name: "PiSSA",
    learningRate: rates(1e-3, 2e-3),
    flags: ["--rank", "8", "--alpha", "8", "--initial-weights", "pissa"],
    peft: { ...lora, lora_alpha: 8, init_lora_weights: "pissa" },
  },
  {
    name: "OLoRA",
    learningRate: rates(1e-3, 2e-3),
    flags: ["--rank", "8", "--alpha", "8", "--initial-weights", "olora"],
    peft: { ...lora, lora_alpha: 8, init_lora_weights: "olora" },
  },
  {
    name: "LoftQ (nf4)",
    learningRate: rates(1e-3, 5e-3),
    flags: ["--rank", "8", "--initial-weights", "loftq", "--storage", "nf4"],
  },
  {
    name: "LoRA+ (16)",
    learningRate: rates(5e-4, 2e-3),
    flags: rank8,
    peft: lora,
    loraPlusRatio: 16,
  },
  { name: "LoRA-FA", learningRate: rates(2e-3, 1e-2), flags: [...rank8, "--frozen-a"] },
  {
    name: "AdaLoRA",
    learningRate: rates(2e-2, 2e-2),
    flags: ["--method", "adalora", "--rank", "8", "--initial-rank", "12", "--alpha", "16"],
    peft: { peft_type: "ADALORA", target_r: 8, init_r: 12, lora_alpha: 16 },
  },
  {
    name: "VeRA",
    learningRate: rates(1e-2, 2e-2),
    flags: ["--method", "vera", "--rank", "256"],
    peft: { peft_type: "VERA", r: 256 },
  },
  {
    name: "VB-LoRA",
    learningRate: rates(1e-2, 2e-2),
    flags: ["--method", "vblora", "--rank", "4", "--vector-length", "64"],
    peft: { peft_type: "VBLORA", r: 4, num_vectors: 256, vector_length: 64 },
  },
];

const otherChangesOfWeights: readonly ScoredMethod[] = [
  {
    name: "LoHa",
    learningRate: rates(1e-2, 1e-2),
    flags: ["--method", "loha", ...rank8],
    peft: { peft_type: "LOHA", r: 8, alpha: 16 },
  },
  {
    name: "LoKr",
    learningRate: rates(5e-3, 1e-2),
    flags: ["--method", "lokr", ...rank8],
    peft: { peft_type: "LOKR", r: 8, alpha: 16 },
  },
  {
    name: "OFT",
    learningRate: rates(5e-3, 5e-3),
    flags: ["--method", "oft", "--block-size", "32"],
    peft: { peft_type: "OFT", oft_block_size: 32 },
  },
  {
    name: "BOFT",
    learningRate: rates(5e-3, 1e-2),
    flags: ["--method", "boft", "--block-size", "4"],
    peft: { peft_type: "BOFT", boft_block_size: 4 },
  },
  {
    name: "FourierFT",
    learningRate: rates(5e-2, 5e-2),
    flags: ["--method", "fourierft", "--frequencies", "1000"],
    peft: { peft_type: "FOURIERFT", n_frequency: 1000, scaling: 150 },
  },
];

const ownParameters: readonly ScoredMethod[] = [
  { name: "full", learningRate: rates(5e-5, 2e-3), flags: ["--method", "full"], targets: "default" },
  {
    name: "head only",
    learningRate: { classification: 5e-3 },
    flags: ["--method", "head-only"],
    targets: "default",
  },
  {
    name: "BitFit",
    learningRate: { classification: 5e-3 },
    flags: ["--method", "bitfit"],
    targets: "default",
  },
  {
    name: "norms",
    learningRate: rates(5e-3, 2e-2),
    flags: ["--method", "ln-tuning"],
    targets: { classification: "LayerNorm", "causal-lm": "input_layernorm,post_attention_layernorm,norm" },
    peft: { peft_type: "LN_TUNING" },
  },
  {
    name: "(IA)3",
    learningRate: rates(1e-2, 2e-2),
    flags: ["--method", "ia3"],
    targets: "default",
    peft: { peft_type: "IA3" },
    peftOfTask: {
      classification: {
        target_modules: ["key", "value", "output.dense"],
        feedforward_modules: ["output.dense"],
      },
      "causal-lm": { target_modules: ["k_proj", "v_proj", "down_proj"], feedforward_modules: ["down_proj"] },
    },
  },
  {
    name: "trainable tokens (bytes)",
    learningRate: { "causal-lm": 1e-2 },
    flags: ["--method", "trainable-tokens", "--tokens", byteTokens.join(",")],
    targets: "default",
    peft: { peft_type: "TRAINABLE_TOKENS", token_indices: byteTokens },
  },
];

const addedModules: readonly ScoredMethod[] = [
  ...(["seq_bn", "double_seq_bn", "par_bn"] as const).map((name): ScoredMethod => ({
    name: { seq_bn: "Pfeiffer", double_seq_bn: "Houlsby", par_bn: "parallel" }[name],
    learningRate: rates(1e-3, 3e-3),
    flags: ["--method", "bottleneck", "--bottleneck", name],
    targets: "default",
  })),
  {
    name: "prefix",
    learningRate: rates(1e-2, 3e-2),
    flags: ["--method", "prefix-tuning", ...virtualTokens],
    targets: "default",
    peft: { peft_type: "PREFIX_TUNING", num_virtual_tokens: 20 },
  },
  {
    name: "prompt",
    learningRate: rates(3e-2, 5e-2),
    flags: ["--method", "prompt-tuning", ...virtualTokens],
    targets: "default",
    peft: { peft_type: "PROMPT_TUNING", num_virtual_tokens: 20 },
  },
  {
    name: "P-tuning",
    learningRate: rates(1e-2, 1e-2),
    flags: ["--method", "p-tuning", ...virtualTokens],
    targets: "default",
    peft: { peft_type: "P_TUNING", num_virtual_tokens: 20 },
  },
  {
    name: "LoRA + prefix",
    learningRate: rates(3e-3, 5e-3),
    flags: ["--method", "lora+prefix-tuning", ...rank8, ...virtualTokens],
  },
];

export const scoredMethods: readonly ScoredMethod[] = [
  ...ownParameters,
  ...loraRows,
  ...otherChangesOfWeights,
  ...addedModules,
];
