/** @file One batch in which each row has adapters of its own. */
import { describe, expect, it, onTestFinished } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { randomLora, tinyBase, tinyConfigurations } from "../../test/support/tiny-models.ts";
import type { Base } from "../base/base.ts";
import { createGenerator } from "./generate.ts";
import type { GenerationAdapter, Generator } from "./generate.ts";

const prompts = [
  [5, 17, 60, 3, 88, 41, 9],
  [12, 80],
];

async function generatorOf(base: Base, adapters: readonly GenerationAdapter[]): Promise<Generator> {
  const generator = await createGenerator(base, adapters, { session: { threads: 1 } });
  onTestFinished(() => generator.dispose());
  return generator;
}

describe("adapters chosen row by row", () => {
  it("gives each row what its adapters alone give it, in one batch", async () => {
    const base = await tinyBase(tinyConfigurations.gpt2);
    const [a, b] = [randomLora(base, "a", 3), randomLora(base, "b", 4)];
    const generator = await generatorOf(base, [a, b]);
    const rows = [prompts[0]!, prompts[1]!, prompts[0]!, prompts[0]!];
    const settings = { maximumNewTokens: 8, stopTokens: [] };
    const chosen = [["a"], [], [{ name: "b", weight: -0.5 }], ["b", "a"]] as const;
    const alone: (readonly number[])[] = [];
    for (const [index, prompt] of rows.entries()) {
      await generator.switchAdapters(chosen[index]!);
      alone.push((await generator.generate({ ...settings, prompts: [prompt] })).tokens[0]!);
    }
    await generator.switchAdapters(["b"]);
    const request = { ...settings, prompts: rows, adapters: chosen };
    expect((await generator.generate(request)).tokens).toEqual(alone);
    // Rows that end early leave the batch: the others keep their own adapters.
    const stopWhen = (row: number): boolean => row === 0;
    const shortened = (await generator.generate({ ...request, stopWhen })).tokens;
    expect(shortened).toEqual([alone[0]!.slice(0, 1), ...alone.slice(1)]);
    const beams = await generator.generate({ ...request, beams: 2 });
    await generator.switchAdapters(["a"]);
    expect(beams.tokens[0]).toEqual(
      (await generator.generate({ ...settings, prompts: [rows[0]!], beams: 2 })).tokens[0],
    );
    expect(generator.activeAdapters).toEqual([{ name: "a", weight: 1 }]);
  });

  it("is refused for prompts without a choice, and names that are not loaded", async () => {
    const base = await tinyBase(tinyConfigurations.gpt2);
    const generator = await generatorOf(base, [randomLora(base, "a", 3)]);
    const failure = (adapters: readonly (readonly string[])[]) =>
      rejectionOf(() => generator.generate({ prompts, maximumNewTokens: 1, adapters }));
    expect(await failure([["a"]])).toEqual({
      code: "usage-invalid",
      message: `Generation: adapters are chosen for 1 prompts; expected ${prompts.length}, one list for each.`,
      hint: "Give an empty list for the base alone.",
    });
    expect(await failure(prompts.map(() => ["c"]))).toEqual({
      code: "usage-invalid",
      message: 'Generation: no adapter is called "c".',
      hint: 'Loaded are "a".',
    });
  });
});
