import { readdirSync } from "node:fs";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import type { BaseChange } from "../methods/contract.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import { startOf, withBaseChanges } from "./changed-base.ts";
import { openModule } from "./own-module.ts";

function openTiny() {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  return openModule(
    {
      inputs: { x: { dtype: "float32", shape: ["rows", 2] } },
      forward: (context, { x }) => ({
        loss: context.builder.sumAll(context.linear("second", context.linear("first", x, sizes), sizes)),
      }),
    },
    { "first.weight": Float32Array.of(1, 2, 3, 4), "second.weight": Float32Array.of(5, 6, 7, 8) },
  );
}

const sizes = { in: 2, out: 2 };
let calls = 0;

function doubled(stored: string, recipe = "double"): BaseChange {
  return {
    stored,
    shape: [2, 2],
    recipe,
    starts: [{ key: `${stored}.half`, shape: [2, 2] }],
    apply(base) {
      calls++;
      return { changed: base.map((value) => 2 * value), starts: [base.map((value) => value / 2)] };
    },
  };
}

const using = (...baseChanges: BaseChange[]) => [{ method: { baseChanges } }];

test("the changed tensor is in its place, and the others where they were", () => {
  const base = openTiny();
  const changed = withBaseChanges(base, using(doubled("first.weight")));
  expect([...changed.read("first.weight")]).toEqual([2, 4, 6, 8]);
  expect([...changed.read("second.weight")]).toEqual([5, 6, 7, 8]);
  expect(changed.locate("second.weight")).toEqual(base.locate("second.weight"));
  const { path: file, offset } = changed.locate("first.weight");
  const [name] = [...openSafetensors(file).tensors].find(([, tensor]) => tensor.offset === offset) ?? [""];
  expect([...readFloat32(openSafetensors(file), name)]).toEqual([2, 4, 6, 8]);
  expect([...base.read("first.weight")]).toEqual([1, 2, 3, 4]);
});

test("a change is computed once, whoever asks for it, and gives starts as well", () => {
  const base = openTiny();
  calls = 0;
  const change = doubled("first.weight");
  const once = withBaseChanges(base, using(change));
  expect(withBaseChanges(base, using(doubled("first.weight")))).toBe(once);
  expect(withBaseChanges(once, using(change))).toBe(once);
  expect([...startOf(base, { baseChanges: [change] }, "first.weight.half")]).toEqual([0.5, 1, 1.5, 2]);
  expect(calls).toBe(1);
  const files = () => readdirSync(path.join(process.env["DELTAFIT_CACHE"] ?? "", "weights")).length;
  const before = files();
  withBaseChanges(base, using(doubled("first.weight", "another recipe")));
  expect([calls, files()]).toEqual([2, before + 1]);
});

test("without changes the base is itself", () => {
  const base = openTiny();
  expect(withBaseChanges(base, using())).toBe(base);
});

test("two methods cannot change one tensor", () => {
  const base = openTiny();
  const refusal = {
    code: "method-unsupported",
    message: 'Two adapters change the tensor "first.weight" of the base before training; only one of them can.',
    hint: "Convert one to a plain LoRA for the unchanged base, or merge it first.",
  };
  const changes = [doubled("first.weight"), doubled("first.weight")];
  expect(failureOf(() => withBaseChanges(base, using(...changes)))).toEqual(refusal);
  const changed = withBaseChanges(base, using(doubled("first.weight")));
  expect(failureOf(() => withBaseChanges(changed, using(doubled("first.weight", "other"))))).toEqual(refusal);
});
