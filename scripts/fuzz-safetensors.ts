/**
 * @file A long run of the safetensors fuzz test: `npx tsx scripts/fuzz-safetensors.ts [iterations] [seed]`.
 * Ends with an error that holds the file on the first one that is neither refused nor read consistently.
 */
import { fuzzSafetensors } from "../test/support/safetensors-fuzz.ts";

const iterations = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? 0);
const { accepted, refused } = fuzzSafetensors(seed, iterations);
console.log(`${iterations} files of seed ${seed}: ${accepted} accepted, ${refused} refused.`);
