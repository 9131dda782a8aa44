/**
 * @file Trains an encoder for classification with every method, and with PEFT's where it has the same one, under one
 * budget of updates, and prints the scores side by side.
 *
 *     npx tsx bench/method-scores.ts --model FOLDER --data train.tsv --eval-data dev.tsv [--steps 200] [--only NAME,NAME]
 *       [--peers [--no-header]]
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { DeltafitError } from "../src/errors.ts";
import { chosenByName } from "./measure.ts";
import { deltafitMain, peersPython, repositoryRoot, runForJson } from "./peers/python.ts";

interface Row {
  readonly name: string;
  readonly learningRate: number;
  /** Flags of `deltafit train`. */
  readonly flags: readonly string[];
  /** Fields of PEFT's configuration, where PEFT has the method. */
  readonly peft?: Readonly<Record<string, unknown>>;
}

const targets = ["query", "value"];
const onTargets = ["--targets", targets.join(",")];
const plain = { peft_type: "LORA", r: 8, lora_alpha: 16, target_modules: targets };

const rows: readonly Row[] = [
  { name: "full", learningRate: 5e-5, flags: ["--method", "full"] },
  { name: "head only", learningRate: 5e-3, flags: ["--method", "head-only"] },
  { name: "BitFit", learningRate: 5e-3, flags: ["--method", "bitfit"] },
  {
    name: "norms",
    learningRate: 5e-3,
    flags: ["--method", "ln-tuning", "--targets", "LayerNorm"],
    peft: { peft_type: "LN_TUNING", target_modules: ["LayerNorm"] },
  },
  { name: "LoRA", learningRate: 1e-3, flags: ["--rank", "8", "--alpha", "16", ...onTargets], peft: plain },
  {
    name: "rsLoRA",
    learningRate: 1e-3,
    flags: ["--rank", "8", "--alpha", "16", "--rank-stabilised", ...onTargets],
    peft: { ...plain, use_rslora: true },
  },
  {
    name: "DoRA",
    learningRate: 1e-3,
    flags: ["--rank", "8", "--alpha", "16", "--magnitude", ...onTargets],
    peft: { ...plain, use_dora: true },
  },
  {
    name: "PiSSA",
    learningRate: 1e-3,
    flags: ["--rank", "8", "--alpha", "8", "--initial-weights", "pissa", ...onTargets],
    peft: { ...plain, lora_alpha: 8, init_lora_weights: "pissa" },
  },
  {
    name: "AdaLoRA",
    learningRate: 5e-3,
    flags: ["--method", "adalora", "--rank", "8", "--initial-rank", "12", "--alpha", "16", ...onTargets],
    peft: { peft_type: "ADALORA", target_r: 8, init_r: 12, lora_alpha: 16, target_modules: targets },
  },
  {
    name: "VeRA",
    learningRate: 1e-2,
    flags: ["--method", "vera", "--rank", "256", ...onTargets],
    peft: { peft_type: "VERA", r: 256, target_modules: targets },
  },
  {
    name: "VB-LoRA",
    learningRate: 1e-2,
    flags: ["--method", "vblora", "--rank", "4", "--vector-length", "128", ...onTargets],
    peft: { peft_type: "VBLORA", r: 4, num_vectors: 256, vector_length: 128, target_modules: targets },
  },
  {
    name: "(IA)3",
    learningRate: 1e-2,
    flags: ["--method", "ia3"],
    peft: {
      peft_type: "IA3",
      target_modules: ["key", "value", "output.dense"],
      feedforward_modules: ["output.dense"],
    },
  },
  {
    name: "LoHa",
    learningRate: 1e-3,
    flags: ["--method", "loha", "--rank", "8", "--alpha", "16", ...onTargets],
    peft: { peft_type: "LOHA", r: 8, alpha: 16, target_modules: targets },
  },
  {
    name: "LoKr",
    learningRate: 5e-3,
    flags: ["--method", "lokr", "--rank", "8", "--alpha", "16", ...onTargets],
    peft: { peft_type: "LOKR", r: 8, alpha: 16, target_modules: targets },
  },
  {
    name: "OFT",
    learningRate: 5e-3,
    flags: ["--method", "oft", "--block-size", "32", ...onTargets],
    peft: { peft_type: "OFT", oft_block_size: 32, target_modules: targets },
  },
  {
    name: "BOFT",
    learningRate: 5e-3,
    flags: ["--method", "boft", "--block-size", "4", ...onTargets],
    peft: { peft_type: "BOFT", boft_block_size: 4, target_modules: targets },
  },
  {
    name: "FourierFT",
    learningRate: 5e-2,
    flags: ["--method", "fourierft", "--frequencies", "1000", ...onTargets],
    peft: { peft_type: "FOURIERFT", n_frequency: 1000, scaling: 150, target_modules: targets },
  },
  { name: "bottleneck (Pfeiffer)", learningRate: 1e-3, flags: ["--method", "bottleneck"] },
  {
    name: "prefix",
    learningRate: 1e-2,
    flags: ["--method", "prefix-tuning", "--virtual-tokens", "20"],
    peft: { peft_type: "PREFIX_TUNING", num_virtual_tokens: 20 },
  },
  {
    name: "prompt",
    learningRate: 3e-2,
    flags: ["--method", "prompt-tuning", "--virtual-tokens", "20"],
    peft: { peft_type: "PROMPT_TUNING", num_virtual_tokens: 20 },
  },
  {
    name: "P-tuning",
    learningRate: 1e-2,
    flags: ["--method", "p-tuning", "--virtual-tokens", "20"],
    peft: { peft_type: "P_TUNING", num_virtual_tokens: 20, encoder_hidden_size: 128 },
  },
  {
    name: "LoRA + prefix",
    learningRate: 1e-3,
    flags: ["--method", "lora+prefix-tuning", "--rank", "8", "--alpha", "16", ...onTargets],
  },
];

const resultSchema = z.looseObject({
  evaluations: z.array(z.looseObject({ metrics: z.looseObject({ accuracy: z.number() }) })),
  trainableParameters: z.number(),
});

type Result = z.infer<typeof resultSchema>;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    data: { type: "string" },
    "eval-data": { type: "string" },
    steps: { type: "string", default: "200" },
    "batch-size": { type: "string", default: "32" },
    threads: { type: "string" },
    only: { type: "string" },
    peers: { type: "boolean", default: false },
    "no-header": { type: "boolean", default: false },
  },
});
const { steps, only, peers, threads } = values;
const needed = (name: "model" | "data" | "eval-data"): string => {
  const value = values[name];
  if (value === undefined) throw new DeltafitError("usage-invalid", `--${name} is needed.`);
  return value;
};
const common = [
  ...[
    "--model",
    needed("model"),
    "--data",
    needed("data"),
    "--eval-data",
    needed("eval-data"),
    "--steps",
    steps,
  ],
  ...["--batch-size", values["batch-size"], "--sequence-length", "64", "--warmup", "0.06"],
  ...(threads === undefined ? [] : ["--threads", threads]),
];
const accuracyOf = ({ evaluations }: Result): string =>
  `${(100 * (evaluations.at(-1)?.metrics.accuracy ?? NaN)).toFixed(1)} %`;

console.log("| method | learning rate | parameters | deltafit | PEFT |\n| --- | --- | --- | --- | --- |");
for (const { name, learningRate, flags, peft } of chosenByName(rows, only)) {
  const rate = ["--learning-rate", String(learningRate)];
  const own = resultSchema.parse(
    runForJson(process.execPath, [
      ...[deltafitMain(), "train", "--json", "--quiet", "--task", "classification"],
      ...[...common, ...rate, ...flags],
    ]),
  );
  const theirs =
    peers && peft
      ? resultSchema.parse(
          runForJson(peersPython(), [
            `${repositoryRoot}/bench/peers/peft_classify.py`,
            ...(values["no-header"] ? ["--no-header"] : []),
            ...[...common, ...rate, "--peft-config", JSON.stringify(withSteps(peft))],
          ]),
        )
      : undefined;
  const counts = [own, ...(theirs ? [theirs] : [])].map(({ trainableParameters }) => trainableParameters);
  const parameters = counts.every((count) => count === counts[0]) ? String(counts[0]) : counts.join(" / ");
  console.log(
    `| ${name} | ${learningRate} | ${parameters} | ${accuracyOf(own)} | ${theirs ? accuracyOf(theirs) : "-"} |`,
  );
}

/** AdaLoRA's schedule ends with the run. */
function withSteps(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return fields["peft_type"] === "ADALORA" ? { ...fields, total_step: Number(steps) } : fields;
}
