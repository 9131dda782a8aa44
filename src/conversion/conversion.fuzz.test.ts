import { expect, test } from "vitest";
import { fuzzAdapters } from "../../test/support/adapter-fuzz.ts";
import { scratchFolder } from "../../test/support/tiny-base.ts";

test("1,000 broken adapters of five formats are each refused with a DeltafitError or read", async () => {
  const scratch = scratchFolder();
  try {
    const { accepted, refused } = await fuzzAdapters(scratch.path, 20_261_123, 1000);
    // Both ways out are taken often: else the mutations would be too weak, or too strong to get past the first check.
    expect(accepted).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(500);
  } finally {
    scratch.dispose();
  }
});
