/** @file The documentation checker's reading of Markdown. */
import { expect, test } from "vitest";
import { parseMarkdown } from "../../scripts/docs/markdown.ts";

test("finds blocks with their lines, also indented ones, and ignores links inside them", () => {
  const text = ["# One", "", "```ts run", "a();", "```", "* item", "  ```sh", "  npm test # [x](y)", "  ```"];
  expect(parseMarkdown(text.join("\n"))).toEqual({
    blocks: [
      { language: "ts", flags: ["run"], line: 4, text: "a();" },
      { language: "sh", flags: [], line: 8, text: "npm test # [x](y)" },
    ],
    inlineCode: [],
    links: [],
    anchors: new Set(["one"]),
  });
});

test("finds links and inline code, and keeps code that looks like a link apart", () => {
  const { links, inlineCode } = parseMarkdown(
    "[a](docs/a.md#b) and ![c](d.png) but `[e](f)` and `npm run g`",
  );
  expect(links).toEqual([
    { line: 1, text: "docs/a.md#b" },
    { line: 1, text: "d.png" },
  ]);
  expect(inlineCode).toEqual([
    { line: 1, text: "[e](f)" },
    { line: 1, text: "npm run g" },
  ]);
});

test("names anchors as GitHub does", () => {
  const { anchors } = parseMarkdown(
    "## `usage-invalid`\n## What, why & how?\n## What, why & how?\n### Größe (bytes)",
  );
  expect([...anchors]).toEqual(["usage-invalid", "what-why--how", "what-why--how-1", "größe-bytes"]);
});

test("a longer fence holds a shorter one", () => {
  const { blocks } = parseMarkdown("````md\n```ts\nx\n```\n````\n```sh\nls\n```");
  expect(blocks).toEqual([
    { language: "md", flags: [], line: 2, text: "```ts\nx\n```" },
    { language: "sh", flags: [], line: 7, text: "ls" },
  ]);
});
