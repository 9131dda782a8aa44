import { expect, test } from "vitest";
import { fuzzSafetensors } from "../../test/support/safetensors-fuzz.ts";

test("4,000 broken files are each refused with a DeltafitError or read consistently", () => {
  const { accepted, refused } = fuzzSafetensors(20_250_101, 4000);
  // Both ways out are taken often: else the mutations would be too weak, or too strong to get past the first check.
  expect(accepted).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(1500);
});
