/**
 * @file A long run of the adapter fuzz test: `npx tsx scripts/fuzz-adapters.ts [iterations] [seed]`. Ends with an error
 * that holds the file on the first one that is neither refused nor read as an adapter.
 */
import { fuzzAdapters } from "../test/support/adapter-fuzz.ts";
import { scratchFolder } from "../test/support/tiny-base.ts";

const iterations = Number(process.argv[2] ?? 20_000);
const seed = Number(process.argv[3] ?? 0);
const scratch = scratchFolder();
try {
  const { accepted, refused } = await fuzzAdapters(scratch.path, seed, iterations);
  console.log(`${iterations} adapters of seed ${seed}: ${accepted} accepted, ${refused} refused.`);
} finally {
  scratch.dispose();
}
