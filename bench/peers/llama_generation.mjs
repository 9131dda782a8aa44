/**
 * @file llama.cpp's side of `compare-generation`, through node-llama-cpp: reads a prompt, generates greedily, and prints the
 * times of each round. A process of its own, so that both sides start alike.
 *
 *     node bench/peers/llama_generation.mjs FOLDER MODEL.gguf '{"promptTokens":512,"newTokens":64,"rounds":3,"threads":2}'
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";

const [folder, modelPath, settings] = process.argv.slice(2);
const { promptTokens, newTokens, rounds, threads } = JSON.parse(settings);
const installed = resolve(folder, "node_modules", "node-llama-cpp");
const { getLlama } = await import(pathToFileURL(join(installed, "dist", "index.js")).href);
const { version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));

const llama = await getLlama({ gpu: false, maxThreads: threads, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const contextSize = promptTokens + newTokens + 16;
const context = await model.createContext({ contextSize, threads, batchSize: promptTokens });
const sequence = context.getSequence();
const prompt = Array.from({ length: promptTokens }, (_, index) => 5 + ((index * 7919) % 40000));
const prefillMilliseconds = [];
const stepMilliseconds = [];
for (let round = 0; round <= rounds; round++) {
  await sequence.clearHistory();
  let startMs = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(prompt);
  const prefill = performance.now() - startMs;
  let count = 0;
  for await (const token of sequence.evaluate([6], { temperature: 0, yieldEogToken: true })) {
    if (token === undefined) break;
    // The first token came with the last of the prompt.
    if (count === 0) startMs = performance.now();
    if (count === newTokens) break;
    count++;
  }
  // The first round warms up.
  if (round === 0) continue;
  prefillMilliseconds.push(prefill);
  stepMilliseconds.push((performance.now() - startMs) / newTokens);
}
process.stdout.write(
  `${JSON.stringify({ prefillMilliseconds, stepMilliseconds, versions: { "node-llama-cpp": version } })}\n`,
);
process.exit(0);
