/**
 * @file The demonstration: the bundled base learns with LoRA a task it cannot do, attributes in and a sentence out, in
 * about a minute on a laptop's CPU. Prints what changes, by how much, and what it costs.
 *
 *   npm run demo
 */
import { existsSync, rmSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import cliProgress from "cli-progress";
import {
  createAdapter,
  createGenerator,
  fineTune,
  generateText,
  loadTokenizer,
  loraDefaults,
  openBase,
  parseRows,
  tokenizeData,
  withMergedWeights,
} from "../src/index.ts";
import type { Adapter, Base, Dataset, Tokenizer } from "../src/index.ts";
import { demoSplit, slotCoverage } from "./demo-data.ts";
import type { DemoExample } from "./demo-data.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const baseFolder = join(root, "base");
const out = join(root, "demo-output");
const sequenceLength = 96;
const steps = 340;

/** Prints a line that fits a terminal of 80 columns, words kept whole. */
function say(text = "", indent = ""): void {
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + word.length + 1 > 80 && line !== indent) {
      console.log(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  console.log(line);
}

const title = (text: string) => {
  console.log(`\n\u2500\u2500 ${text} ${"\u2500".repeat(Math.max(0, 76 - text.length))}`);
};
const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;

function datasetOf(examples: readonly DemoExample[], tokenizer: Tokenizer): Dataset {
  const rows = examples.map((example, index) => ({
    line: index + 1,
    where: `example ${index + 1}`,
    values: { ...example },
  }));
  return tokenizeData(parseRows(rows, "causal-lm"), "causal-lm", tokenizer, { sequenceLength });
}

/** What the model writes for each example, up to the end of the line. */
async function answers(
  base: Base,
  adapters: readonly Adapter[],
  tokenizer: Tokenizer,
  examples: readonly DemoExample[],
): Promise<string[]> {
  const generator = await createGenerator(base, adapters);
  try {
    const { texts } = await generateText(generator, tokenizer, {
      prompts: examples.map(({ prompt }) => prompt),
      maximumNewTokens: 56,
      stopStrings: ["\n"],
    });
    return texts.map((text) => text.trim());
  } finally {
    await generator.dispose();
  }
}

/** Mean share of the attributes that a text mentions. */
const coverage = (examples: readonly DemoExample[], texts: readonly string[]) =>
  examples.reduce((sum, { prompt }, index) => sum + slotCoverage(prompt, texts[index] ?? ""), 0) /
  examples.length;

const started = performance.now();
const tokenizer = loadTokenizer(baseFolder);
const base = await openBase({ path: baseFolder, name: "deltafit-base", task: "causal-lm" });
const { train, heldOut } = demoSplit(1);
const shown = heldOut.slice(0, 2);

title("deltafit: fine-tuning with LoRA, in Node, on the CPU");
say(
  "The bundled base writes everyday English. It has never seen this task: turn a restaurant's attributes into a sentence.",
);

title("Before");
const before = await answers(base, [], tokenizer, heldOut);
for (const [index, { prompt }] of shown.entries()) {
  say(prompt);
  say(`\u2192 ${before[index] ?? ""}`, "  ");
}

title("Training: LoRA of rank 8 on every linear layer, 1,600 examples");
const adapter = createAdapter({
  base,
  type: "LORA",
  configuration: { ...loraDefaults, rank: 8, alpha: 16, targets: "all-linear" },
  seed: 1,
});
rmSync(out, { recursive: true, force: true });
const isTerminal = process.stderr.isTTY;
const bar = new cliProgress.SingleBar({
  format: "{bar} {value}/{total}  loss {loss}  {speed} tokens/s  {left} s left",
  barsize: 24,
  hideCursor: true,
});
if (isTerminal) bar.start(steps, 0, { loss: "-", speed: "-", left: "-" });
const result = await fineTune({
  base,
  tokenizer,
  adapter,
  data: datasetOf(train, tokenizer),
  evaluationData: datasetOf(heldOut, tokenizer),
  batchSize: 16,
  sequenceLength,
  plan: { steps, accumulate: 1, learningRate: 8e-3, schedule: "cosine", warmup: 10 },
  weightDecay: 0,
  seed: 1,
  out,
  onEvent(event) {
    if (event.type !== "step-end") return;
    const { step, loss, tokensPerSecond, secondsLeft } = event;
    const values = { loss: loss.toFixed(3), speed: tokensPerSecond.toFixed(0), left: secondsLeft.toFixed(0) };
    if (isTerminal) bar.update(step, values);
    else if (step % 25 === 0)
      console.log(`step ${step}/${steps}  loss ${values.loss}  ${values.speed} tokens/s`);
  },
});
if (isTerminal) bar.stop();

title("After");
const after = await answers(base, [result.adapter], tokenizer, heldOut);
for (const [index, { prompt }] of shown.entries()) {
  say(prompt);
  say(`\u2192 ${after[index] ?? ""}`, "  ");
}

title("In numbers");
const merged = await withMergedWeights(base, [result.adapter]);
const mergedTexts = await answers(merged, [], tokenizer, heldOut);
const equal = mergedTexts.filter((text, index) => text === after[index]).length;
const adapterBytes = statSync(join(out, "adapter_model.safetensors")).size;
const baseBytes = statSync(join(baseFolder, "model.safetensors")).size;
const rows: [string, string][] = [
  [
    "attributes mentioned, 60 held-out",
    `${percent(coverage(heldOut, before))} before, ${percent(coverage(heldOut, after))} after`,
  ],
  [
    "loss",
    `${(result.losses[0] ?? NaN).toFixed(2)} at first, ${(result.evaluations.at(-1)?.metrics["loss"] ?? NaN).toFixed(2)} held-out in the end`,
  ],
  [
    "trained parameters",
    `${result.trainableParameters} of ${result.totalParameters} (${((100 * result.trainableParameters) / result.totalParameters).toFixed(1)} %)`,
  ],
  ["adapter on disk", `${megabytes(adapterBytes)}; the base has ${megabytes(baseBytes)}`],
  ["merged into the base", `${equal} of ${heldOut.length} texts equal to the unmerged ones`],
  ["time", `${((performance.now() - started) / 1000).toFixed(0)} s in all`],
];
for (const [name, value] of rows) console.log(`  ${name.padEnd(36)}${value}`);

title("Next");
const shownOut = relative(process.cwd(), out) || ".";
say(`The adapter lies in ${shownOut}, in PEFT's format: Python loads it unchanged. Try`);
console.log(`
  npx deltafit generate --adapter ${shownOut} \\
    --prompt "name = The Rose | kind = pub | food = Thai =>"
  npx deltafit train --data your.jsonl --out my-adapter
  npx deltafit merge --adapter ${shownOut} --out merged
`);
if (!existsSync(join(out, "adapter_config.json"))) throw new Error("The demo wrote no adapter.");
