/** @file Tests of the demonstration data and its score. */
import { describe, expect, it } from "vitest";
import { demoExamples, demoSplit, slotCoverage } from "./demo-data.ts";

const prompt =
  "name = The Olive Tree | kind = pub | food = Italian | area = riverside | price = cheap | family friendly = no =>";

describe("demo examples", () => {
  it("are the same for the same seed", () => {
    expect(demoExamples(1, 30)).toEqual(demoExamples(1, 60).slice(0, 30));
    expect(demoExamples(2, 30)).not.toEqual(demoExamples(1, 30));
  });

  it("mention every attribute they state", () => {
    const missed = demoExamples(1, 460).filter(
      (example) => slotCoverage(example.prompt, example.completion) < 1,
    );
    expect(missed).toEqual([]);
  });

  it("are spelled as sentences", () => {
    const wrong = demoExamples(1, 460).filter(
      ({ completion }) =>
        !/^ [A-Z][^{}~]*\.$/.test(completion) || /\S {2}| [,.]|\ba [aeiou]/i.test(completion),
    );
    expect(wrong).toEqual([]);
  });

  it("keep training and held-out combinations apart", () => {
    const { train, heldOut } = demoSplit(1);
    const plan = (text: string): string => text.slice(text.indexOf(" | "));
    const trained = new Set(train.map((example) => plan(example.prompt)));
    expect([train.length, heldOut.length, trained.size]).toEqual([1600, 60, 1600]);
    expect(heldOut.filter((example) => trained.has(plan(example.prompt)))).toEqual([]);
  });

  it("says when more examples are asked for than there are combinations", () => {
    expect(() => demoExamples(1, 40000)).toThrow(
      new RangeError("demoExamples: expected at most 10000 examples, found a request for 40000."),
    );
  });
});

describe("slot coverage", () => {
  it.each([
    ["The Olive Tree is a cheap Italian pub at the riverside. It is not family-friendly.", 1],
    ["the olive tree is an italian pub with low prices at the riverside. Children are not allowed.", 1],
    ["The Olive Tree is a cheap Italian pub at the riverside. It is family-friendly.", 5 / 6],
    ["The Olive Tree is a pub.", 2 / 6],
    ["She went home.", 0],
    ["", 0],
  ])("of %j is %d", (text, expected) => {
    expect(slotCoverage(prompt, text)).toBe(expected);
  });

  it("does not take a negation for a welcome", () => {
    expect(slotCoverage("family friendly = yes =>", "It is not family-friendly.")).toBe(0);
    expect(slotCoverage("family friendly = yes =>", "Families are welcome.")).toBe(1);
  });

  it("of a prompt without attributes is 0", () => {
    expect(slotCoverage("Hello", "Hello")).toBe(0);
  });
});
