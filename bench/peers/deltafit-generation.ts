/**
 * @file deltafit's side of `compare-generation`: reads a prompt, generates greedily, and prints the times of each round.
 * A process of its own, so that both sides start alike.
 *
 *     tsx bench/peers/deltafit-generation.ts CONFIG.json '{"promptTokens":512,"newTokens":64,"rounds":3,"threads":2,"storage":"int4","compute":"int8"}'
 */
import { z } from "zod";
import { createGenerator, openBase, storageNames } from "../../src/index.ts";

const settingsSchema = z.strictObject({
  promptTokens: z.int(),
  newTokens: z.int(),
  rounds: z.int(),
  threads: z.int(),
  storage: z.enum(storageNames),
  compute: z.enum(["float32", "int8"]),
});

const [config = "", given = ""] = process.argv.slice(2);
const settings = settingsSchema.parse(JSON.parse(given));
const { promptTokens, newTokens, rounds, threads, storage, compute } = settings;
const base = await openBase({ path: config, task: "causal-lm", randomWeights: 0, storage, compute });
const generator = await createGenerator(base, [], { session: { threads } });
const prompt = Array.from({ length: promptTokens }, (_, index) => 5 + ((index * 7919) % 40000));
const prefillMilliseconds: number[] = [];
const stepMilliseconds: number[] = [];
for (let round = 0; round <= rounds; round++) {
  const { firstTokenMilliseconds, tokensPerSecond } = await generator.generate({
    prompts: [prompt],
    maximumNewTokens: newTokens + 1,
    stopTokens: [],
  });
  // The first round warms up.
  if (round === 0) continue;
  prefillMilliseconds.push(firstTokenMilliseconds);
  stepMilliseconds.push(1000 / tokensPerSecond);
}
await generator.dispose();
process.stdout.write(`${JSON.stringify({ prefillMilliseconds, stepMilliseconds })}\n`);
